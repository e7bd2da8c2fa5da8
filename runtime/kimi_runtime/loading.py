"""Loads a model with everything a server needs, and chooses the settings by what the machine has. Knows no
HTTP."""

import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec

from kimi_runtime.answers import EngineOptions
from kimi_runtime.chat import Chat
from kimi_runtime.curve import StepCurve
from kimi_runtime.dialects import detect
from kimi_runtime.engine import Engine
from kimi_runtime.failures import BadModel
from kimi_runtime.faults import LoadFault, OutOfMemory
from kimi_runtime.grammar import CallGrammars
from kimi_runtime.header import read_header
from kimi_runtime.kvcache import KvCache, cache_key, model_fingerprint
from kimi_runtime.llama import Context, ContextOptions, LoadOptions, Model
from kimi_runtime.machine import free_memory, processors
from kimi_runtime.pool import Pool
from kimi_runtime.server import Backend, ModelFacts
from kimi_runtime.template import Prompter
from kimi_runtime.vocabulary import Vocabulary

DEFAULT_CONTEXT = 16384
_LEAST_CONTEXT = 2048
_SPARE = 1 << 30
_CANDIDATE_ROOM = 16384


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`context` in tokens, None: chosen by memory. `cache`: folder for KV states, None: keep none on disk."""

    context: int | None = None
    cache: Path | None = None
    width: int = 32
    threads: int | None = None
    drafts: bool = True


def load(path: Path, settings: Settings, *, progress: Callable[[float], None] | None = None) -> Backend:
    """Load and start a model. Raises LoadFault, OutOfMemory and, where memory is short, says how much is
    missing."""
    try:
        read_header(path)
    except BadModel as problem:
        raise LoadFault(problem.message, hint=problem.hint) from problem
    free = free_memory()
    model = Model(path, LoadOptions(), progress=progress)
    context_size = _context_size(model, settings.context, free - model.bytes)
    cells = _cells(model, context_size, free - model.bytes, settings.width)
    options = ContextOptions(
        cells=cells, threads=settings.threads or processors(), sequences=min(250, settings.width * 2)
    )
    context = Context(model, options)
    vocabulary = Vocabulary(model)
    dialect = detect(model.template(), vocabulary.structural.values())
    grammars = CallGrammars(vocabulary, dialect)
    pool = Pool(
        context,
        _disk(path, settings.cache),
        can_rewind=model.can_rewind,
        lot=settings.cache / "parked" if settings.cache is not None else None,
    )
    engine = Engine(
        context,
        vocabulary,
        pool,
        EngineOptions(context=context_size, width=settings.width, drafts=settings.drafts),
        curve=StepCurve(model.bytes),
        curve_file=_curve_file(path, settings.cache, options.threads),
    )
    engine.start()
    threading.Thread(target=grammars.prepare, name="grammar", daemon=True).start()
    facts = ModelFacts(
        name=path.stem,
        n_ctx=context_size,
        n_ctx_train=model.train_context,
        n_params=model.parameters,
        size=model.bytes,
    )
    chat = Chat(vocabulary, Prompter(vocabulary, model.template()), dialect, grammars)
    return Backend(engine=engine, chat=chat, facts=facts)


def _context_size(model: Model, wanted: int | None, free: int) -> int:
    """The wanted context, or 16k where memory allows; never more than the model was trained for."""
    trained = model.train_context or DEFAULT_CONTEXT
    fits = max(0, free - _SPARE // 2) // max(1, model.kv_bytes())
    if wanted is not None:
        needed = wanted * model.kv_bytes()
        if wanted > fits:
            raise OutOfMemory(
                f"A context of {wanted} tokens needs {needed >> 20} MiB, more than there is.",
                hint=f"Ask for at most {fits} tokens, or close other programs.",
            )
        return min(wanted, trained)
    if fits < min(_LEAST_CONTEXT, trained):
        raise OutOfMemory(
            f"There is not enough memory for {model.path.name} and its context.",
            hint="Close other programs or choose a smaller model.",
        )
    return min(DEFAULT_CONTEXT, trained, fits)


def _cells(model: Model, context: int, free: int, width: int) -> int:
    """Cells for one full context, and room for many short answers beside it where memory is plenty."""
    extra = min(_CANDIDATE_ROOM, width * 512, max(0, free // 4) // max(1, model.kv_bytes()))
    return -(-(context + extra) // 256) * 256


def _curve_file(path: Path, folder: Path | None, threads: int) -> Path | None:
    if folder is None:
        return None
    return folder / f"curve-{cache_key([model_fingerprint(path), threads])[:32]}.json"


def _disk(path: Path, folder: Path | None) -> KvCache | None:
    if folder is None:
        return None
    # States hold the bytes of the KV cache: they depend on its types and on the library, not on its size.
    key = cache_key([model_fingerprint(path), "f16", "unified", version("llama-cpp-python"), 1])
    return KvCache(folder, key)
