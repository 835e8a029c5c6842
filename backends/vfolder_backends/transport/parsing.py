"""Answers into models: unknown fields do not matter, missing ones are named."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vfolder_backends.errors import BackendError, Unavailable
from vfolder_backends.transport.messages import Answer

ModelT = TypeVar("ModelT", bound="WireModel")


class WireModel(BaseModel):
    """Base of what vendors send."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def parse(model: type[ModelT], answer: Answer, array: str) -> ModelT:
    """Return the answer's body as a model.

    Raises:
        Unavailable: the body is no JSON, so it was cut or comes from something in between.
        BackendError: a field is missing or of another type; the message names it, not its value.
    """
    try:
        body = answer.json()
    except ValueError as error:
        raise Unavailable(
            f"{array}: {answer.call}: status {answer.status}, and the body is not JSON"
        ) from error
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        # Not chained: pydantic's text shows the value, and that can be a token.
        raise BackendError(
            f"{array}: {answer.call}: the answer's field {where!r}: {first['msg']}; is this version"
            " of the array supported?"
        ) from None
