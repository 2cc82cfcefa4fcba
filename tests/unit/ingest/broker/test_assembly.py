"""Which middleware a broker gets, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dramatiq import Middleware
from dramatiq.middleware import AgeLimit, CurrentMessage, Retries, default_middleware

from ingest.broker.assembly import MiddlewareRefused, assemble_middleware, is_worker_metrics, without_worker_metrics


class Ours(Middleware):
    """Stands for the project's own middleware."""


class Theirs(Middleware):
    """Stands for the user's."""


class PatientRetries(Retries):
    """A default middleware, changed by inheritance."""


def test_dramatiq_s_own_come_first_then_ours_then_the_user_s() -> None:
    kinds = [type(middleware) for middleware in assemble_middleware([Ours()], {"app:m": Theirs})]

    assert kinds == [*default_middleware, Ours, Theirs]


def test_instances_classes_and_callables_are_taken() -> None:
    instance = Theirs()

    def several() -> Iterator[Middleware]:
        yield Theirs()
        yield CurrentMessage()

    made = assemble_middleware(
        [], {"a:instance": instance, "b:Class": CurrentMessage, "c:one": lambda: instance, "d:several": several}
    )

    assert [type(middleware) for middleware in made[len(default_middleware) :]] == [
        Theirs,
        CurrentMessage,
        Theirs,
        Theirs,
        CurrentMessage,
    ]


@pytest.mark.parametrize("extension", [Retries(max_retries=3), PatientRetries()])
def test_a_default_middleware_is_replaced_not_doubled(extension: Retries) -> None:
    made = assemble_middleware([], {"app:retries": extension})

    assert [middleware for middleware in made if isinstance(middleware, Retries)] == [extension]
    assert made.index(extension) == default_middleware.index(Retries)
    assert isinstance(made[0], AgeLimit)


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (7, "neither a Dramatiq middleware nor a callable"),
        (lambda: 7, "gave a int"),
        (lambda: [Theirs(), 7], "gave a list with a int"),
        (lambda: None, "gave a NoneType"),
        (lambda needed: Theirs(), "failed when called without arguments: TypeError"),
        ([Theirs(), Theirs()], "neither a Dramatiq middleware nor a callable"),
    ],
)
def test_anything_else_is_refused_by_its_name(extension: object, words: str) -> None:
    with pytest.raises(MiddlewareRefused) as refused:
        assemble_middleware([], {"myapp.broker:thing": extension})

    assert words in str(refused.value)
    assert str(refused.value).startswith("'myapp.broker:thing' ")


def test_dramatiq_s_metrics_are_left_out_where_there_is_nothing_to_count(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("dramatiq_prom_db", str(tmp_path))
    from dramatiq.middleware.prometheus import Prometheus  # makes a folder

    class Ours(Prometheus):
        """Changed by inheritance."""

    assembled = assemble_middleware([], {"dramatiq:Prometheus": Prometheus, "app:Ours": Ours, "app:Theirs": Theirs})
    assert [is_worker_metrics(each) for each in assembled[-3:]] == [True, True, False]
    assert [type(each) for each in without_worker_metrics(assembled)] == [*default_middleware, Theirs]
