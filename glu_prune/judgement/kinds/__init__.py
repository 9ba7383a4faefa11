"""The kinds of claims and of cases. A new kind is a file of this folder, and its line in each of these tables."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator, Tag

from glu_prune.judgement.case import Case, ClaimCase
from glu_prune.judgement.claim import Claim
from glu_prune.judgement.kinds.choice import ChoiceCase, ChoiceClaim
from glu_prune.judgement.kinds.cost import EfficiencyCase, EfficiencyClaim
from glu_prune.judgement.kinds.direction import CapabilityClaim, DirectionCase
from glu_prune.judgement.kinds.distance import DistanceCase, DistanceClaim
from glu_prune.judgement.kinds.evidence import EvidenceCase
from glu_prune.judgement.kinds.trend import TrendCase, TrendClaim

CASES: tuple[type[Case], ...] = (
    DirectionCase,
    DistanceCase,
    TrendCase,
    EfficiencyCase,
    ChoiceCase,
    EvidenceCase,
)
"""Every kind of case; tests ask for one by its fixture."""
CLAIMS: Mapping[str, type[Claim]] = {
    kind.KEY: kind for kind in (DistanceClaim, CapabilityClaim, EfficiencyClaim, TrendClaim, ChoiceClaim)
}
"""The key that makes an entry of `expect` a claim of one kind; the first, where an entry has several."""
CASE_OF: Mapping[type[Claim], type[ClaimCase]] = {
    CapabilityClaim: DirectionCase,
    DistanceClaim: DistanceCase,
    EfficiencyClaim: EfficiencyCase,
    TrendClaim: TrendCase,
    ChoiceClaim: ChoiceCase,
}
"""The kind of case that a claim becomes."""


def _kind(entry: object) -> str:
    keys = entry if isinstance(entry, dict) else type(entry).model_fields if isinstance(entry, Claim) else ()
    return next((key for key in CLAIMS if key in keys), CapabilityClaim.KEY)


AnyClaim = Annotated[
    Annotated[CapabilityClaim, Tag(CapabilityClaim.KEY)]
    | Annotated[DistanceClaim, Tag(DistanceClaim.KEY)]
    | Annotated[EfficiencyClaim, Tag(EfficiencyClaim.KEY)]
    | Annotated[TrendClaim, Tag(TrendClaim.KEY)]
    | Annotated[ChoiceClaim, Tag(ChoiceClaim.KEY)],
    Discriminator(_kind),
]
