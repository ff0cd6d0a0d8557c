import pytest

from app.local.errors import AddressError
from app.local.ports import free_port
from app.local.preflight import (
    check_database,
    check_redis,
    check_storage,
    hide_password,
    libpq_url,
)


def test_a_database_that_is_away_is_named_without_its_password():
    url = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/db"
    with pytest.raises(AddressError) as caught:
        check_database(url)
    message = str(caught.value)
    assert "DATABASE_URL postgresql://me@127.0.0.1" in message
    assert "refused" in message
    assert "embedded PostgreSQL" in message
    assert "hunter2" not in message


def test_a_database_that_answers_passes(postgres_url):
    check_database(postgres_url)


def test_a_redis_that_is_away_is_named():
    with pytest.raises(AddressError, match=r"REDIS_URL redis://127.*refused.*embedded Redis"):
        check_redis(f"redis://127.0.0.1:{free_port()}/0")


def test_a_redis_address_of_an_unknown_kind_is_refused():
    with pytest.raises(AddressError, match="REDIS_URL amqp://x"):
        check_redis("amqp://x")


@pytest.mark.parametrize("url", ["ftp://host/x", "relative/folder", "file:rel", "s3://"])
def test_a_storage_of_an_unknown_kind_is_refused_with_an_example(url, tmp_path):
    with pytest.raises(AddressError, match=r"STORAGE_URL .* cannot be used.*s3://bucket/prefix"):
        check_storage(url, home=tmp_path)


def test_a_storage_folder_that_cannot_exist_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AddressError, match="Not a directory"):
        check_storage(f"file://{tmp_path}/file/below", home=tmp_path)


def test_a_storage_folder_is_created(tmp_path):
    check_storage(f"file://{tmp_path}/files", home=tmp_path)
    assert (tmp_path / "files").is_dir()


def test_a_bucket_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    url = f"s3://bucket?region=eu-central-1&endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(AddressError, match=r"STORAGE_URL s3://bucket.* connect.*credentials"):
        check_storage(url, home=tmp_path)


def test_an_address_without_a_password_stays_as_it_is():
    assert hide_password("redis://host/0") == "redis://host/0"
    assert hide_password("redis://:pw@host/0") == "redis://@host/0"


def test_the_name_of_a_driver_is_taken_out_of_an_address():
    assert libpq_url("postgresql+psycopg://u:p@h/db?x=1") == "postgresql://u:p@h/db?x=1"
    assert libpq_url("postgresql://h/a+b") == "postgresql://h/a+b"
