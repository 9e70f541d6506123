"""What the OpenAPI document says of a view: parameters, answers, and an example that a test executes."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.serializers import Serializer

from chatws.api.examples import EXAMPLES
from chatws.api.serializers import Problem

View = Callable[..., Any]
OWN = "For the user itself, and for role `admin`."
OF_MEMBERS = "For members of the chat group, and for role `admin`."
STATUS = "For every caller with a token; without one where `CHATWS_PUBLIC_STATUS` is on."
PROBLEMS = {
    400: "A field is malformed or missing; the message begins with its name",
    401: "No token, or one that doesn't count",
    403: "Not the caller's to see",
    404: "Not there",
    503: "The chat service or Redis is away; worth another try",
}


def documented(
    summary: str, answer: type[Serializer[Any]], *, query: type[Serializer[Any]] | None = None,
    body: type[Serializer[Any]] | None = None, bare: bool = False, who: str, tag: str,
) -> Callable[[View], View]:  # fmt: skip
    """Say what a view takes and answers, and for whom; ``bare``: without the wrapper of code and message."""
    example = EXAMPLES[summary]
    kind = answer if bare else _wrapped(answer)
    value = example.answer if bare else {"code": 0, "message": "success", "data": example.answer}
    examples = [OpenApiExample("an answer", value, response_only=True, status_codes=["200"])]
    if body is not None:
        examples.append(OpenApiExample("a request", example.body, request_only=True))
    in_path = [
        OpenApiParameter(name, _type_of(value), OpenApiParameter.PATH, examples=[OpenApiExample("one", value)])
        for name, value in example.path.items()
    ]
    in_query = [
        OpenApiExample(f"a {name}", value, parameter_only=(name, "query")) for name, value in example.query.items()
    ]
    return extend_schema(
        summary=summary,
        description=who,
        tags=[tag],
        parameters=[*in_path, *([query] if query else [])],
        request=body,
        responses={
            200: OpenApiResponse(kind, "The answer"),
            **{code: OpenApiResponse(Problem, what) for code, what in PROBLEMS.items()},
        },
        examples=[*examples, *in_query],
    )


def _type_of(value: object) -> type:
    return int if isinstance(value, int) else str


def _wrapped(data: type[Serializer[Any]]) -> type[Serializer[Any]]:
    fields = {"code": serializers.IntegerField(), "message": serializers.CharField(), "data": data()}
    return type(f"{data.__name__}Answer", (serializers.Serializer,), fields)
