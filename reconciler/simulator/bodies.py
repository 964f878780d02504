"""The bodies of the control API, and the messages for invalid ones."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from reconciler.simulator.process import Delivery


class BadRequestError(Exception):
    """A body is invalid; the text says why."""


def says(text: str) -> WrapValidator:
    """Return a mark for a type: ``text`` is the error for a value that it does not take."""

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("says", text) from None

    return WrapValidator(check)


Text = Annotated[str, Field(min_length=1), says("not a text with at least one character")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), says("not seconds, 0 or more")]
Fate = Annotated[Delivery, says('neither "send" nor "lose"')]


class Body(BaseModel):
    """A body; its members have the names of Assure (camelCase)."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class NewProcess(Body):
    """A process to make: the arguments of ``World.add``. All are optional."""

    dossier_id: Text | None = None
    process_id: Text | None = None
    provider: Text | None = None
    process_type: Text | None = None
    final_status: Text | None = None
    finish_in: Seconds | None = None
    callback: Fate = "send"
    notified: Fate = "send"


class Finish(Body):
    """The status with which a process finishes, if it is not the planned one."""

    status: Text | None = None


class Receiver(Body):
    """Where callbacks go, for a receiver whose port is known late."""

    url: Annotated[str, says("not a text")] = ""
    authorization: Annotated[str, says("not a text")] = ""


Model = TypeVar("Model", bound=Body)


def parsed(raw: bytes) -> object:
    """Return a body as JSON."""
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadRequestError("the body is not JSON") from None
    return value


def read(model: type[Model], value: object) -> Model:
    """Return ``value`` as a ``model``."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    unknown = sorted(str(each["loc"][0]) for each in problems if each["type"] == "extra_forbidden")
    if unknown:
        known = ", ".join(str(field.alias) for field in model.model_fields.values())
        raise BadRequestError(f"unknown: {', '.join(unknown)}; known: {known}")
    if not problems[0]["loc"]:
        raise BadRequestError("not a JSON object")
    raise BadRequestError(f"{problems[0]['loc'][0]}: {problems[0]['msg']}")
