"""One picture through the engine: decode, find, choose, replace, encode."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.face_swap.casting import Cast
from engines.face_swap.choosing import choose
from engines.face_swap.params import typed
from engines.face_swap.people import People
from engines.face_swap.replacing import replace_faces
from engines.face_swap.report import described, picture_work, used
from engines.face_swap.selection import Chosen
from engines.face_swap.source import Source
from engines.face_swap.swapper import Casting
from engines.face_swap.tools import Tools
from engines.faces.face import Face
from engines.media.images import Picture, read_image
from engines.media.label import label_picture
from engines.media.limits import MediaLimits
from engines.media.results import save_picture
from engines.metering import usage_report
from engines.spec import EngineResult, OutputFile, RunItem


@dataclass(frozen=True, slots=True)
class PictureRun:
    """One run's constant facts."""

    item: RunItem
    cast: Cast
    tools: Tools
    people: People

    def run(self, limits: MediaLimits) -> EngineResult:
        """Replace what was asked for.

        Raises:
            InvalidInputError: ``no_face_found``, ``no_such_face``, ``no_matching_face``,
                ``several_source_faces``, ``face_blocked`` or ``face_unusable``.
        """
        context, wanted = self.item.context, typed(self.item.params)
        with self.tools.clock.clock.aside("decode"):
            target = read_image(
                self.item.files.target, limits=limits, first_frame=wanted.first_frame
            )
        found = self.tools.detect(target.pixels)
        context.checkpoint()
        chosen = choose(
            found,
            wanted=wanted,
            cast=self.cast,
            references=self.people.references(self.cast, wanted.order),
            recognise=lambda faces: self.tools.recognise(target.pixels, faces),
        )
        sources = [self.people.source(role) for role in self.cast.roles]
        context.checkpoint()
        pixels = target.pixels.copy()
        castings = [Casting(each.face, sources[each.role]) for each in chosen]
        done = replace_faces(pixels, castings, self.tools)
        if not done.swapped:
            raise done.skipped[0][1]
        context.progress(len(done.swapped), len(done.swapped), "faces")
        file = self._save(replace(target, pixels=pixels))
        skipped = {id(casting.face) for casting, _ in done.skipped}
        return self._result(
            target,
            file,
            found=found,
            swapped=[each for each in chosen if id(each.face) not in skipped],
            skipped=[each for each in chosen if id(each.face) in skipped],
            sources=sources,
        )

    def _save(self, picture: Picture) -> OutputFile:
        name = f"{self.item.files.stem}-swapped"
        with self.tools.clock.clock.aside("encode"):
            picture = label_picture(picture, typed(self.item.params).label)
            return save_picture(picture, self.item.context.work_dir, stem="swapped", name=name)

    def _result(
        self,
        target: Picture,
        file: OutputFile,
        *,
        found: Sequence[Face],
        swapped: Sequence[Chosen],
        skipped: Sequence[Chosen],
        sources: Sequence[Source],
    ) -> EngineResult:
        model, wanted, tools = self.item.model, typed(self.item.params), self.tools
        roles = {each.role for each in swapped}
        data: dict[str, Any] = {
            **used(model, tools, sources),
            "faces_found": len(found),
            "faces": [described(each) for each in swapped],
            "faces_skipped": [described(each) for each in skipped],
            "roles_missing": sorted(set(range(len(sources))) - roles),
            "width": target.width,
            "height": target.height,
        }
        work = picture_work(
            model,
            wanted,
            size=(target.width, target.height),
            faces=len(swapped),
            cached=sum(sources[role].is_cached for role in roles),
        )
        usage = usage_report(
            tools.clock.clock, work=work, model=model, execution=tools.swapper.execution
        )
        return EngineResult(files=(file,), data=data, usage=usage)
