"""What a live migration shall do that does not end by itself: whoever sends the guest asks for it again and again."""

from datetime import datetime
from typing import Literal

import msgspec

Policy = Literal["abort", "force_complete", "keep_trying"]
"""What comes at the deadline. Who keeps trying is given up there, too, but has a day."""
Order = Literal["abort", "force_complete"]
ABORT: Literal["abort"] = "abort"
FORCE_COMPLETE: Literal["force_complete"] = "force_complete"
KEEP_TRYING: Literal["keep_trying"] = "keep_trying"
POLICIES: tuple[Policy, ...] = (ABORT, FORCE_COMPLETE, KEEP_TRYING)


class Orders(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wanted of a guest that leaves."""

    deadline: datetime | None = None
    policy: Policy = ABORT
    order: Order | None = None
    """To be done at once."""

    def due(self, now: datetime) -> Order | None:
        """What has to be done by now; None lets it go on."""
        if self.order is not None:
            return self.order
        if self.deadline is None or now < self.deadline:
            return None
        return FORCE_COMPLETE if self.policy == FORCE_COMPLETE else ABORT
