"""The addresses of clients that existed before this API; they run unmodified.

Each module is one such address. A request becomes an ordinary job: quoted, held, run and settled
like any other, and waited for, because these clients read the result from the answer.
"""
