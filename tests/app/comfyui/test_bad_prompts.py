"""Prompts that cannot run: clear errors in ComfyUI's form, and nothing left behind."""

import io
import json

import pytest
from PIL import Image

from app.comfyui.graph import NODES_MAX
from tests.app.comfyui.conftest import graph, picture


@pytest.fixture(scope="module")
def name(steady):
    return steady.served.upload(picture())


@pytest.fixture
def refused(steady, name):
    """Send a prompt that is refused; give what was said."""

    def send(workflow, **fields):
        before = steady.counted()
        answer = steady.served.http.post("/prompt", json={"prompt": workflow, **fields})
        assert answer.status_code == 400, answer.text
        assert steady.counted() == before
        error = answer.json()["error"]
        assert set(error) == {"type", "message", "details", "extra_info"}
        return error, answer.json()["node_errors"]

    return send


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "json_empty"),
        (b"{", "json_invalid"),
        (b"[]", "json_not_object"),
        (b'{"prompt": NaN}', "json_number_not_finite"),
        (b'{"prompt": ' + b"[" * 100_000, "json_too_deep"),
        (b'{"prompt": {"1": {"class_type": "\\u0000"}}}', "json_nul_character"),
        (b"{}", "no_prompt"),
        (b'{"prompt": []}', "invalid_prompt"),
        (b'{"prompt": {"1": 7}}', "invalid_prompt"),
        (b'{"prompt": {"1": {"inputs": {}}}}', "invalid_prompt"),
        (b'{"prompt": {"1": {"class_type": "SaveImage", "inputs": 7}}}', "invalid_prompt"),
        (b'{"prompt": {}}', "prompt_no_outputs"),
        (b'{"prompt": {}, "extra_data": 7}', "invalid_prompt"),
        (b'{"prompt": {}, "client_id": {}}', "invalid_prompt"),
        (b'{"prompt": {}, "prompt_id": "\\n"}', "invalid_prompt"),
        (b'{"prompt": {}, "number": "x"}', "invalid_prompt"),
        (b'{"prompt": {}, "partial_execution_targets": "3"}', "invalid_prompt"),
    ],
)
def test_a_body_that_is_no_prompt_is_named(body, kind, steady):
    answer = steady.served.http.post("/prompt", content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, kind)


def test_a_body_that_is_too_large_is_not_read_to_its_end(steady):
    answer = steady.served.http.post("/prompt", content=b" " * (5 * 1024 * 1024))
    assert answer.status_code == 413


def test_unknown_nodes_are_named_each(name, refused):
    workflow = graph(name)
    workflow["9"] = {"class_type": "KSampler", "inputs": {}}
    error, nodes = refused(workflow)
    assert error["type"] == "invalid_prompt"
    assert error["message"] == "Cannot execute because node KSampler does not exist."
    assert error["details"] == "Node ID '#9'"
    assert "DDColor_Colorize" in nodes["9"]["errors"][0]["details"]
    assert nodes["9"]["class_type"] == "KSampler"


def test_a_cycle_is_found_on_every_node_of_it(name, refused):
    workflow = graph(name)
    workflow["2"]["inputs"]["image"] = ["4", 0]
    scale = {"image": ["2", 0], "upscale_method": "lanczos", "scale_by": 2}
    workflow["4"] = {"class_type": "ImageScaleBy", "inputs": scale}
    error, nodes = refused(workflow)
    assert error["type"] == "prompt_outputs_failed_validation"
    assert {"2", "4"} <= set(nodes)
    assert nodes["2"]["errors"][0]["type"] == "dependency_cycle"
    workflow["2"]["inputs"]["image"] = ["2", 0]
    assert refused(workflow)[1]["2"]["errors"][0]["type"] == "dependency_cycle"


@pytest.mark.parametrize(
    ("node", "inputs", "kind"),
    [
        ("2", {"image": ["99", 0]}, "bad_linked_input"),
        ("2", {"image": ["1"]}, "bad_linked_input"),
        ("2", {"image": ["1", "0"]}, "bad_linked_input"),
        ("2", {"image": "photo.png"}, "bad_linked_input"),
        ("2", {"image": ["1", 1]}, "return_type_mismatch"),
        ("2", {"image": ["1", 7]}, "return_type_mismatch"),
        ("2", {"image": ["1", -1]}, "return_type_mismatch"),
        ("3", {"images": ["3", 0]}, "return_type_mismatch"),
        ("2", {"checkpoint": "other.pth"}, "value_not_in_list"),
        ("2", {"checkpoint": 7}, "value_not_in_list"),
        ("2", {"checkpoint": {}}, "value_not_in_list"),
        ("2", {"model_input_size": "x"}, "invalid_input_type"),
        ("2", {"model_input_size": None}, "invalid_input_type"),
        ("2", {"model_input_size": 31}, "value_smaller_than_min"),
        ("2", {"model_input_size": 5000}, "value_bigger_than_max"),
        ("1", {"image": "nothing.png"}, "custom_validation_failed"),
        ("1", {"image": "../secret.key"}, "custom_validation_failed"),
        ("1", {"image": "/etc/passwd"}, "custom_validation_failed"),
        ("1", {"image": ["2", 0]}, "return_type_mismatch"),
        ("1", {"image": 7}, "invalid_input_type"),
        ("3", {"filename_prefix": "../../x"}, "custom_validation_failed"),
        ("3", {"filename_prefix": "/etc/x"}, "custom_validation_failed"),
    ],
)
def test_what_is_wrong_with_an_input_is_said_at_its_node(node, inputs, kind, name, refused):
    workflow = graph(name)
    workflow[node]["inputs"] |= inputs
    error, nodes = refused(workflow)
    assert error["type"] == "prompt_outputs_failed_validation"
    found = nodes[node]
    assert kind in {each["type"] for each in found["errors"]}, found
    assert found["class_type"] == workflow[node]["class_type"]
    assert found["dependent_outputs"] == ["3"]
    for each in found["errors"]:
        assert set(each) == {"type", "message", "details", "extra_info"}


@pytest.mark.parametrize("missing", ["image", "checkpoint", "model_input_size"])
def test_a_missing_input_is_named(missing, name, refused):
    workflow = graph(name)
    del workflow["2"]["inputs"][missing]
    [error] = refused(workflow)[1]["2"]["errors"]
    assert (error["type"], error["details"]) == ("required_input_missing", missing)


def test_of_two_outputs_the_good_one_runs(served, workers):
    workflow = graph(served.upload(picture()))
    workflow["4"] = {"class_type": "PreviewImage", "inputs": {"images": ["9", 0]}}
    answer = served.http.post("/prompt", json={"prompt": workflow})
    assert answer.status_code == 200
    assert answer.json()["node_errors"]["4"]["errors"][0]["type"] == "bad_linked_input"
    assert len(workers.jobs()) == 1
    wanted = {"prompt": workflow, "partial_execution_targets": ["4"]}
    assert served.http.post("/prompt", json=wanted).status_code == 400
    assert served.http.post("/prompt", json={**wanted, "partial_execution_targets": ["9"]}).json()[
        "error"
    ]["type"] == ("prompt_no_outputs")


def test_what_our_engine_refuses_is_said_at_the_colouring(steady, refused):
    first, out = Image.new("L", (9, 9), 10), io.BytesIO()
    first.save(out, format="GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)])
    moving = steady.served.upload(out.getvalue(), "moving.gif")
    error, nodes = refused(graph(moving))
    assert error["type"] == nodes["2"]["errors"][0]["type"] == "animated_image"


def test_two_colourings_in_one_line_are_refused(name, refused):
    workflow = graph(name)
    workflow["4"] = {**workflow["2"], "inputs": {**workflow["2"]["inputs"], "image": ["2", 0]}}
    workflow["3"]["inputs"]["images"] = ["4", 0]
    assert "coloured already" in refused(workflow)[1]["4"]["errors"][0]["details"]


def test_scaling_alone_is_refused_with_a_way_out(name, refused):
    workflow = graph(name)
    scale = {"image": ["1", 0], "upscale_method": "lanczos", "scale_by": 2}
    workflow["2"] = {"class_type": "ImageScaleBy", "inputs": scale}
    assert "DDColor_Colorize" in refused(workflow)[1]["2"]["errors"][0]["details"]


def test_a_graph_of_too_many_nodes_is_refused(refused):
    node = {"class_type": "LoadImage", "inputs": {"image": "a"}}
    assert refused({str(n): node for n in range(NODES_MAX + 1)})[0]["type"] == "invalid_prompt"


def test_a_long_line_of_nodes_needs_no_stack(served, workers):
    workflow = graph(served.upload(picture()))
    before = "2"
    for number in range(10, NODES_MAX):
        scale = {"image": [before, 0], "upscale_method": "lanczos", "scale_by": 1.0}
        before = str(number)
        workflow[before] = {"class_type": "ImageScaleBy", "inputs": scale}
    workflow["3"]["inputs"]["images"] = [before, 0]
    served.prompt(workflow)
    assert workers.jobs()[0]["params"]["output_size"] is None


@pytest.mark.parametrize("path", ["/queue", "/history"])
def test_bad_lists_of_ids_are_refused(path, steady):
    answer = steady.served.http.post(path, json={"delete": "all"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_prompt")


def test_nothing_of_a_server_is_told_by_an_error(steady):
    said = json.dumps(steady.served.http.post("/prompt", json={"prompt": {"1": {}}}).json())
    assert "Traceback" not in said
    assert "/app/" not in said
