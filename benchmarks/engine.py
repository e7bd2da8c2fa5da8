"""The runtime's engine by itself: what guessing ahead gains, and what a step costs besides the model.

    python -m benchmarks.engine [--model FILE.gguf] [--lines N] [--at-once N]

A file of `--lines` lines is written again with one name changed, greedily, without drafts and with them. The
texts are equal but for near ties: llama.cpp's own logits differ by up to 0.75 between batches of one and of
many tokens (measured on the embedded model without this engine), so of two tokens that close either may win.
tests/runtime/test_drafts.py holds that drafts change nothing else. Then `--at-once` answers are written side
by side, greedily and sampled: milliseconds of a step outside llama_decode.
"""

import argparse
import queue
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.machine import machine
from benchmarks.tokens import embedded_model
from kimi_runtime.answers import EngineOptions
from kimi_runtime.curve import StepCurve
from kimi_runtime.engine import Engine
from kimi_runtime.job import Event, Failed, Finished, Order, Text
from kimi_runtime.llama import Context, ContextOptions, LoadOptions, Model
from kimi_runtime.machine import processors
from kimi_runtime.pool import Pool
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.vocabulary import Vocabulary

_SOURCE = Path(__file__).with_name("repair_bench.py")
_ASK = (
    "<|im_start|>user\nHere is a file:\n```python\n{file}\n```\nWrite the whole file again with the name "
    "`{old}` changed to `{new}` everywhere, and nothing else changed.<|im_end|>\n"
    "<|im_start|>assistant\n```python\n"
)
_SHORT = "<|im_start|>user\nWrite a function that adds {i} to a number.<|im_end|>\n<|im_start|>assistant\n"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to the first text and of the rest; tokens of the answer."""

    text: str
    first_s: float
    rest_s: float
    tokens: int


def start(model: Model, vocabulary: Vocabulary, *, drafts: bool) -> tuple[Engine, Context]:
    """An engine whose step times are known, as they are in a worker that has been idle once."""
    context = Context(model, ContextOptions(cells=24576, threads=processors()))
    options = EngineOptions(context=16384, drafts=drafts)
    pool = Pool(context, None, can_rewind=model.can_rewind)
    engine = Engine(context, vocabulary, pool, options, curve=StepCurve(model.bytes))
    engine.start()
    while not engine.curve.is_measured:
        time.sleep(0.2)
    return engine, context


def answer(engine: Engine, order: Order) -> Done:
    """Raises the fault of an order that failed."""
    return collect(submit(engine, order))


def submit(engine: Engine, order: Order) -> "queue.SimpleQueue[list[Event]]":
    events: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
    engine.submit(order, events.put)
    return events


def collect(events: "queue.SimpleQueue[list[Event]]") -> Done:
    begun, first, text = time.perf_counter(), 0.0, ""
    while True:
        for event in events.get():
            now = time.perf_counter() - begun
            if isinstance(event, Text):
                first = first or now
                text += event.text
            elif isinstance(event, Failed):
                raise event.fault
            elif isinstance(event, Finished):
                return Done(text=text, first_s=first, rest_s=now - first, tokens=event.completion)


def rewrite(model: Model, vocabulary: Vocabulary, lines: int) -> None:
    source = "\n".join(_SOURCE.read_text().splitlines()[:lines])
    prompt = vocabulary.encode(_ASK.format(file=source, old="argparse", new="arguments"))
    order = Order(prompt=prompt, limit=2 * len(prompt), sampling=SamplingOptions(temperature=0))
    texts: list[str] = []
    for drafts in (False, True):
        engine, context = start(model, vocabulary, drafts=drafts)
        done = answer(engine, order)
        counts = engine.answers.counts
        engine.stop()
        context.close()
        texts.append(done.text)
        speed = f"{done.tokens / done.rest_s:6.1f} tokens/s, prompt {len(prompt) / done.first_s:.0f} tokens/s"
        guesses = f"{done.tokens} tokens, {counts.accepted} of {counts.drafted} guesses right"
        print(f"rewriting {lines} lines, drafts {'on ' if drafts else 'off'}: {speed} ({guesses})")
    print("texts equal" if texts[0] == texts[1] else "texts not equal (a near tie?)")


def overhead(model: Model, vocabulary: Vocabulary, at_once: int) -> None:
    for name, heat in (("greedy", 0.0), ("sampled", 0.8)):
        engine, context = start(model, vocabulary, drafts=True)
        sampling = SamplingOptions(temperature=heat)
        prompts = [vocabulary.encode(_SHORT.format(i=i)) for i in range(at_once)]
        orders = [Order(prompt=one, limit=40, sampling=sampling, seed=i) for i, one in enumerate(prompts)]
        for events in [submit(engine, order) for order in orders]:
            collect(events)
        outside = engine.seconds_outside / engine.steps * 1e3
        print(f"{at_once} answers at once, {name}: {outside:.2f} ms a step outside the model")
        engine.stop()
        context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=embedded_model())
    parser.add_argument("--lines", type=int, default=150)
    parser.add_argument("--at-once", type=int, default=32)
    options = parser.parse_args()
    if options.model is None:
        print("The embedded model is not here: kimi-code models pull", file=sys.stderr)
        return 2
    print(machine())
    model = Model(options.model, LoadOptions())
    vocabulary = Vocabulary(model)
    rewrite(model, vocabulary, options.lines)
    overhead(model, vocabulary, options.at_once)
    model.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
