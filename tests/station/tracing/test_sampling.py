from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind

from station.tracing.sampling import StartsWithRequests


def test_a_question_to_a_store_begins_no_trace() -> None:
    tracer = TracerProvider(StartsWithRequests(ALWAYS_ON), shutdown_on_exit=False).get_tracer("tests")
    assert not tracer.start_span("find", kind=SpanKind.CLIENT).is_recording()
    request = tracer.start_span("GET /", kind=SpanKind.SERVER)
    assert request.is_recording()
    within = trace.set_span_in_context(request)
    assert tracer.start_span("find", within, kind=SpanKind.CLIENT).is_recording()
    assert tracer.start_span("a plugin's own work").is_recording()


def test_the_configured_sampler_decides_about_everything_else() -> None:
    tracer = TracerProvider(StartsWithRequests(ALWAYS_OFF), shutdown_on_exit=False).get_tracer("tests")
    assert not tracer.start_span("GET /", kind=SpanKind.SERVER).is_recording()
    assert StartsWithRequests(ALWAYS_OFF).get_description() == "StartsWithRequests{AlwaysOffSampler}"
