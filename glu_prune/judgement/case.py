"""What becomes one pytest case, whichever kind of claim it is about."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.claim import DENSE_NAME, ArmKey, show_key
from glu_prune.models.source import identity
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome

if TYPE_CHECKING:
    from glu_prune.evaluation.capability import Capability
    from glu_prune.evaluation.subset import Subset
    from glu_prune.judgement.claim import ArmClaim, Claim
    from glu_prune.judgement.experiment import Experiment
    from glu_prune.judgement.sources import Source
    from glu_prune.results.report import CaseResult


@dataclass(frozen=True)
class Requirement:
    """A capability, and the arms whose answers on it a case is judged by."""

    capability: "Capability"
    arms: tuple[Arm, ...]
    divergent: bool = False
    """Whether the arms' predictions are compared with the dense model's, token by token, in place of their scores."""
    part: "Subset | None" = None
    """Which items; None for those of the file."""
    pieces: "tuple[Subset, ...]" = ()
    """In which pieces arms answer these items, after each of which something is known; the dense model answers all."""


@dataclass(frozen=True)
class Entry:
    """Where a claim stands: its file and line, and what the file says beside it."""

    file: str
    line: int
    experiment: "Experiment"
    suite: Mapping[str, "Capability"]
    """The capabilities that claims of the file can be about, by name."""


@dataclass(frozen=True)
class Case(ABC):
    """One claim, or one check of evidence, with the experiment that its file describes."""

    FIXTURE: ClassVar[str]
    """The argument of a test that is called with cases of this kind."""
    ABOUT_RUNS: ClassVar[bool] = True
    """Whether runs can judge it; else only published figures can."""
    SEQUENTIAL: ClassVar[bool] = False
    """Whether it may be judged on the way, before all items are answered."""

    file: str
    line: int
    id: str
    experiment: "Experiment"
    apart: str = field(default="", kw_only=True)
    """How its file prunes the model, where others of the session prune it in other ways; else empty."""

    @property
    def model(self) -> str:
        """The model, as tables name it, and how it is pruned if that tells it apart."""
        return self.experiment.model + (f" ({self.apart})" if self.apart else "")

    @property
    def subject(self) -> str:
        """The same, and whether it is asked in its chat template."""
        return self.model + (" (chat)" if self.experiment.chat_template else "")

    @property
    def where(self) -> str:
        """File and line of the claim."""
        return f"{self.file}:{self.line}"

    @property
    @abstractmethod
    def declared(self) -> str:
        """What must be found for the case to pass."""

    @property
    def claimed(self) -> str:
        """What is the same for two cases that claim the same thing."""
        return self.id

    def requirements(self) -> Iterator[Requirement]:
        """The scores that it is judged by."""
        yield from ()

    @property
    def measures(self) -> bool:
        """Whether costs have to be measured for it."""
        return False

    def taken(self, arm: Arm) -> Arm:
        """The arm that answers where a requirement names `arm`."""
        return arm

    @abstractmethod
    def judge(self, source: "Source") -> "CaseResult":
        """What is found, from what `source` has measured.

        Raises:
            GluPruneError: it cannot be judged.
        """


@dataclass(frozen=True)
class ClaimCase(Case):
    """A case that an entry of `expect` makes."""

    claim: "Claim"

    @classmethod
    @abstractmethod
    def of(cls, entry: Entry, claim: Any, identity: str, arm: ArmKey | None) -> "ClaimCase":
        """The case of `claim`, which is of the kind's own type, about `arm`, or across ratios if there is none."""

    @property
    def about(self) -> dict[str, object]:
        """What every result about the claim says of it."""
        experiment = self.experiment
        return {
            "model": self.subject,
            "declared": self.declared,
            "why": self.claim.why,
            "file": self.file,
            "where": self.where,
            "in_file": sum(len(claim.arms_among(experiment.keys)) for claim in experiment.expect),
        }


@dataclass(frozen=True)
class ArmCase(ClaimCase):
    """One claim about one of its arms."""

    claim: "ArmClaim"
    key: ArmKey
    """Which arm of the file."""
    family: tuple[str, ...] = field(default=(), kw_only=True)
    """What the session's files declare of the claim, over all entries; empty if only this entry is known."""

    @property
    def declared(self) -> Outcome:
        """As the claim says of this arm."""
        return self.claim.declared(self.key)

    @property
    def claimed(self) -> str:
        """The id with the variant in it, which ids have only where one file makes several claims."""
        return f"{self.id.removesuffix(f'-{self.claim.variant}')} {self.claim.variant}"

    @property
    def tests(self) -> int:
        """How often the claim is made, each time with a test of its own: of arms, in entries, in files."""
        return len(self.family or self.claim.arms_among(self.experiment.keys))

    @property
    def family_key(self) -> tuple[str, ...]:
        """What is the same for claims that say the same of one model, wherever they are declared."""
        return identity(self.experiment.model), self.claim.KEY, self.claim.name, self.claim.variant

    def about_family(self, source: "Source") -> dict[str, object]:
        """What results say of the case, and since when all that it belongs to is declared."""
        return {
            **self.about,
            **self.about_arm,
            "against": "" if self.claim.against == DENSE_NAME else show_key(self.claim.against),
            "family": self.family_digest,
            "declared_since": source.declared(self),
        }

    @property
    def member(self) -> str:
        """What this case adds to what is declared of the claim."""
        experiment = self.experiment
        every = (experiment.most_items(needed.capability) for needed in self.requirements())
        items = "".join(f", {most} items" for most in every if most)
        if isinstance(self.key, str):
            arm = self.arm
            how = f"{arm.name}: {arm.checkpoint or arm.label}, seed {arm.seed}"
        else:
            how = f"{experiment.criterion} {show_ratio(self.key)}, seed {experiment.seed}"
        return f"{self.claim.text}, {how}{items}"

    @property
    def family_digest(self) -> str:
        """A fingerprint of all that is declared of the claim: another one once a ratio or an entry is added."""
        said = [self.experiment.model, *self.family_key[1:], *sorted(self.family)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    @property
    def arm(self) -> Arm:
        """The model that the claim is about."""
        return self.experiment.arm(self.key)

    def taken(self, arm: Arm) -> Arm:
        """In the place of the dense model what the arm is compared with."""
        if arm != DENSE or self.claim.against == DENSE_NAME:
            return arm
        return self.experiment.arm(self.claim.against)

    @property
    def ratio(self) -> Decimal | None:
        """How much goes; None of an arm that has a name."""
        return None if isinstance(self.key, str) else self.key

    @property
    def about_arm(self) -> dict[str, object]:
        """What every result says of the arm."""
        return {"ratio": self.ratio, "named": self.key if isinstance(self.key, str) else ""}
