"""Building blocks of the kinds: the base model, quantities, durations, selectors, conditions.

What the API server can check without the storage is written here as JSON schema or CEL, so that bad
input is refused at admission with a message of ours.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from vfolder_backends.ids import QuotaScopeID
from vfolder_backends.sizes import parse_limit, parse_quantity

JsonObject = dict[str, Any]

UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SCOPE_ID_PATTERN = "^(user|project):" + UUID_PATTERN[1:]
NAME_PATTERN = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class Model(BaseModel):
    """Base: camelCase in the API, snake_case here, unknown keys refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class StatusModel(BaseModel):
    """Base of what we write ourselves; an older or newer operator's fields are passed over."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    def dump(self) -> JsonObject:
        """Return the JSON form, without what is not known."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rules(*pairs: tuple[str, str]) -> JsonObject:
    """CEL rules as (expression, message) pairs, for `json_schema_extra`."""
    return {"x-kubernetes-validations": [{"rule": r, "message": m} for r, m in pairs]}


def immutable(name: str) -> JsonObject:
    """The CEL rule of a field that may not change once it is set."""
    return rules(("self == oldSelf", f"{name} is immutable; make a new object instead"))


def _check_limit(value: str) -> str:
    parse_limit(value)
    return value


def _check_quantity(value: str) -> str:
    if parse_quantity(value) < 1:
        raise ValueError(f"{value!r} is below 1")
    return value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# `isInteger` says no to 1.5Ti; a float tells whole numbers apart well enough at admission.
_FLOAT = "quantity(self).asApproximateFloat()"
_WHOLE = (
    f"quantity(self).isLessThan(quantity('8Ei')) && {_FLOAT} >= 1.0"
    f" && double(int({_FLOAT})) == {_FLOAT}"
)
_QUANTITY_RULE = f"type(self) == string ? (isQuantity(self) && {_WHOLE}) : int(self) > 0"
_LIMIT_RULE = (
    f"type(self) == string ? (self == 'Unlimited' || (isQuantity(self) && {_WHOLE}))"
    " : int(self) > 0"
)
_MESSAGE = "must be a whole quantity of at least 1 and at most 2^63-1 bytes, such as 500Gi"

ByteLimit = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_check_limit),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            **rules((_LIMIT_RULE, _MESSAGE + ", or Unlimited")),
        }
    ),
]
"""Bytes as a quantity, or `Unlimited`."""

ByteQuantity = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_check_quantity),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            **rules((_QUANTITY_RULE, _MESSAGE)),
        }
    ),
]
"""Bytes as a quantity."""

FileLimit = Annotated[int, Field(ge=1, json_schema_extra={"format": "int64"})]

_DURATION = re.compile(r"([0-9]+)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as 30s, 5m, 24h or 7d.

    Raises:
        ValueError: anything else.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def _check_duration(value: str) -> str:
    parse_duration(value)
    return value


Duration = Annotated[
    str, Field(pattern="^[0-9]{1,6}(s|m|h|d)$", max_length=7), AfterValidator(_check_duration)
]


def _check_scope_id(value: str) -> str:
    QuotaScopeID.parse(value)
    return value


ScopeIDText = Annotated[
    str, Field(pattern=SCOPE_ID_PATTERN, max_length=44), AfterValidator(_check_scope_id)
]

Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=253)]


class SelectorRequirement(Model):
    """One expression of a label selector."""

    key: Annotated[str, Field(min_length=1, max_length=317, description="Label key.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Field(description="How the label's value relates to `values`."),
    ]
    values: Annotated[
        list[str], Field(default=[], max_length=64, description="Values of In and NotIn.")
    ]


class LabelSelector(Model):
    """Selects by labels, as everywhere in Kubernetes; the empty selector selects everything."""

    match_labels: Annotated[
        dict[str, str], Field(default={}, description="Labels that must all be there.")
    ]
    match_expressions: Annotated[
        list[SelectorRequirement],
        Field(default=[], max_length=32, description="Expressions that must all hold."),
    ]

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_holds(e, labels) for e in self.match_expressions)


def _holds(expression: SelectorRequirement, labels: dict[str, str]) -> bool:
    match expression.operator:
        case "In":
            return labels.get(expression.key) in expression.values
        case "NotIn":
            return labels.get(expression.key) not in expression.values
        case "Exists":
            return expression.key in labels
        case "DoesNotExist":
            return expression.key not in labels


class Condition(StatusModel):
    """One observation, in the form all Kubernetes tools know."""

    type: Annotated[str, Field(description="What is observed.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether it holds.")]
    reason: Annotated[str, Field(description="One CamelCase word for machines.")]
    message: Annotated[str, Field(description="What happened and what to do, for people.")]
    last_transition_time: Annotated[
        str,
        Field(description="When `status` last changed.", json_schema_extra={"format": "date-time"}),
    ]
    observed_generation: Annotated[
        int | None, Field(default=None, description="The generation this was observed at.")
    ]


Conditions = Annotated[
    list[Condition],
    Field(
        default=[],
        description="Observations of the object's state.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]


class ObjectStatus(StatusModel):
    """What scopes and folders tell in the same way."""

    phase: Annotated[
        Literal["Pending", "Ready", "Degraded", "Deleting"] | None,
        Field(default=None, description="One word for people; conditions are for machines."),
    ]
    observed_generation: Annotated[
        int | None, Field(default=None, description="The generation that was acted upon.")
    ]
    path: Annotated[
        str | None, Field(default=None, description="Its directory, below the backend's root.")
    ]
    conditions: Conditions
