"""What all sections of the configuration have in common."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# A file or folder. Shells leave the ~ of `model.path=~/x` as it is, and YAML knows none.
PathText = Annotated[str, AfterValidator(os.path.expanduser)]


def described(default: Any, description: str, **limits: Any) -> Any:
    """A field with its description; limits are pydantic's (`ge`, `gt`, `min_length`, ...)."""
    return Field(default, description=description, **limits)


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values never change, text is never a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
