"""A component of spaCy pipelines, as `isogloss[spacy]` has it.

spaCy finds it by the entry point `spacy_factories`, so `nlp.add_pipe("isogloss")` and `spacy.load`
need no import. A pipeline that is saved keeps the configuration; keys are read from the environment
and are in none.
"""

# spaCy reads the factory's annotations, so these are no strings.
import os
from collections.abc import Iterable, Iterator, Sequence

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from isogloss.prompts.errors import IsoglossError
from isogloss.serving.client.answering import ClassifyOptions, Outcome
from isogloss.serving.client.batches import MOST_TEXTS
from isogloss.serving.client.client import Client
from isogloss.serving.schemas import Result

ATTRIBUTE = "isogloss"
_TIMEOUT_S = 100.0


@Language.factory(
    "isogloss",
    assigns=["doc.cats", f"doc._.{ATTRIBUTE}"],
    default_config={
        "url": None,
        "model": None,
        "task": None,
        "languages": None,
        "timeout_s": _TIMEOUT_S,
    },
)
def make_component(
    nlp: Language,
    name: str,
    url: str | None,
    model: str | None,
    task: str | None,
    languages: list[str] | None,
    timeout_s: float,
) -> "IsoglossComponent":
    """Make a component from a pipeline's configuration."""
    options: ClassifyOptions = {"model": model, "task": task, "languages": languages}
    return IsoglossComponent(name, url, timeout_s, options)


class IsoglossComponent(Pipe):
    """Sets `doc.cats` to the labels' scores, and `doc._.isogloss` to the rest of the answer.

    A document without words keeps the `cats` it has.
    """

    def __init__(
        self, name: str, url: str | None, timeout_s: float, options: ClassifyOptions
    ) -> None:
        self.name = name
        self._url = url
        self._timeout_s = timeout_s
        self._options = options
        self._held: tuple[int, Client] | None = None
        if not Doc.has_extension(ATTRIBUTE):
            Doc.set_extension(ATTRIBUTE, default=None)

    def __call__(self, doc: Doc) -> Doc:
        """Classify one document; raises the errors of `isogloss.prompts.errors`."""
        for outcome in self._outcomes([doc] if _has_words(doc) else []):
            if isinstance(outcome, IsoglossError):
                raise outcome
            _note(doc, outcome)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = MOST_TEXTS) -> Iterator[Doc]:
        """Classify documents, up to 256 with a request; errors go to the pipeline's handler."""
        for docs in minibatch(stream, batch_size):
            outcomes = iter(self._outcomes([doc for doc in docs if _has_words(doc)]))
            for doc in docs:
                outcome = next(outcomes) if _has_words(doc) else None
                if isinstance(outcome, IsoglossError):
                    self.get_error_handler()(self.name, self, [doc], outcome)
                    continue
                if outcome is not None:
                    _note(doc, outcome)
                yield doc

    def _outcomes(self, docs: Sequence[Doc]) -> Sequence[Outcome]:
        try:
            return list(self._client().classify_each([d.text for d in docs], **self._options))
        except IsoglossError as error:  # about no text in particular
            return [error] * len(docs)

    def _client(self) -> Client:
        """This process' own: with `n_process`, spaCy forks, and connections are not shared."""
        if self._held is None or self._held[0] != os.getpid():
            self._held = (os.getpid(), Client(self._url, timeout_s=self._timeout_s))
        return self._held[1]


def _has_words(doc: Doc) -> bool:
    return bool(doc.text) and not doc.text.isspace()


def _note(doc: Doc, result: Result) -> None:
    doc.cats = {each.label: each.score for each in result.scores}
    doc._.set(ATTRIBUTE, result.model_dump(mode="json", exclude={"scores"}))
