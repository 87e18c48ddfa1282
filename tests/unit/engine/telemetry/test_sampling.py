"""Which traces are kept: as the SDK's own samplers say."""

import random

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import sampling

from impact.engine.telemetry.otlp import sampling_of
from impact.engine.telemetry.trace import Parent
from impact.errors import ConfigurationError

SAMPLERS = {
    ("", ""): sampling.ParentBasedTraceIdRatio(0.05),
    ("", "0.5"): sampling.ParentBasedTraceIdRatio(0.5),
    ("always_on", ""): sampling.ALWAYS_ON,
    ("always_off", "1"): sampling.ALWAYS_OFF,
    ("traceidratio", "0.3"): sampling.TraceIdRatioBased(0.3),
    ("parentbased_always_on", ""): sampling.DEFAULT_ON,
    ("parentbased_always_off", ""): sampling.DEFAULT_OFF,
    ("ParentBased_TraceIdRatio", "0.7"): sampling.ParentBasedTraceIdRatio(0.7),
}


@pytest.mark.parametrize("asked", SAMPLERS)
@pytest.mark.parametrize("flag", [None, False, True])
def test_decisions(asked: tuple[str, str], flag: bool | None) -> None:
    found = sampling_of({"OTEL_TRACES_SAMPLER": asked[0], "OTEL_TRACES_SAMPLER_ARG": asked[1]})
    rng = random.Random(7)  # noqa: S311 - ids for a test
    for _ in range(300):
        trace_id = rng.getrandbits(128) or 1
        parent, above = None, None
        if flag is not None:
            parent = Parent(trace_id, 5, flag, "")
            position = api.SpanContext(trace_id, 5, True, api.TraceFlags(int(flag)))
            above = api.set_span_in_context(api.NonRecordingSpan(position))
        theirs = SAMPLERS[asked].should_sample(above, trace_id, "GET").decision.is_sampled()
        assert found.keeps(trace_id, parent) is theirs


@pytest.mark.parametrize(
    ("name", "argument"),
    [("sometimes", ""), ("traceidratio", "2"), ("traceidratio", "-0.1"), ("traceidratio", "x")],
)
def test_what_it_does_not_take(name: str, argument: str) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_SAMPLER"):
        sampling_of({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument})
