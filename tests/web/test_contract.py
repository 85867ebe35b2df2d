"""The OpenAPI document is true: a server is asked all that the document allows, and what it does not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from tests.web.conftest import live
from webui.application import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

    from webui.contract import Operation

pytestmark = pytest.mark.compiled
IMAGES = 8
EXAMPLES = int(os.environ.get("CALQUE_FUZZ", "4"))
REFUSED = ["2xx", "401", "403", "404", "409", "422"]
CONFIG = {
    # What is well formed may still mean nothing: a region beside the image, a condition on a field that is not there.
    "checks": {
        "positive_data_acceptance": {"expected-statuses": REFUSED},
        "negative_data_rejection": {"expected-statuses": ["4xx"]},
    },
    "operations": [
        {
            "include-path": "/api/uploads",
            "checks": {"positive_data_acceptance": {"expected-statuses": [*REFUSED, "415"]}},
        },
        {
            "include-path-regex": "^/iiif/",
            "checks": {"positive_data_acceptance": {"expected-statuses": [*REFUSED, "400"]}},
        },
    ],
}


@pytest.fixture(scope="module")
def described(kept_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a running server."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with live(Path(shutil.copytree(kept_index, folder / "scans.calque")), folder, addresses=False) as server:
        yield schemathesis.openapi.from_url(
            f"{server.address}/api/openapi.json", config=SchemathesisConfig.from_dict(CONFIG)
        )


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: f"{operation.method} {operation.path}")
def test_the_server_does_what_its_document_says(described: Any, operation: Operation, mode: GenerationMode) -> None:
    asked = described[operation.path][operation.method.lower()]
    if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
        pytest.skip("whatever is asked is well formed")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(case=asked.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        for given_parts in (case.path_parameters, case.query):
            for name in ("image", "with"):
                number = (given_parts or {}).get(name)
                if isinstance(number, int) and number >= 0:
                    given_parts[name] = number % (IMAGES + 1)  # mostly one that there is
        case.call_and_validate()

    ask()


def test_the_document_describes_every_operation(described: Any) -> None:
    told = {(method.upper(), path) for path, methods in described.raw_schema["paths"].items() for method in methods}
    assert told == {(operation.method, operation.path) for operation in OPERATIONS}
    assert described.raw_schema["openapi"].startswith("3.1")
