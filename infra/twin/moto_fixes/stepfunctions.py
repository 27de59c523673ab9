"""Step Functions: what moto's interpreter lacks for a JSONata machine with a Distributed Map.

* JSONata is evaluated by ``jsonata-python`` (moto wants a Java machine), texts with quotes in them included
* ``ItemBatcher`` and express children (moto's grammar does not know them), tolerated failures (moto tolerates all), and
  a few workers, each of which takes jobs in a loop (moto: one thread per item, one stack frame per job)
* every execution has a name

Not imitated and refused: ``ResultWriter``, ``ItemBatcher`` together with ``ItemSelector`` or below the top level.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast
from uuid import uuid4

from jsonata import Jsonata
from jsonata.jexception import JException

from infra.twin.moto_fixes import replace

WORKERS = 8
_BATCHER = "ItemBatcher"
_asl = "moto.stepfunctions.parser.asl."
_jsonata: Any = import_module(_asl + "jsonata.jsonata")
_parser_log = _asl + "parse.preprocessor"
_states: Any = import_module(_asl + "eval.states")
_variables: Any = import_module(_asl + "eval.variable_store")
_parser: Any = import_module(_asl + "parse.asl_parser")
_strings: Any = import_module(_asl + "component.common.string.string_expression")
_maps = _asl + "component.state.exec.state_map.iteration."
_distributed: Any = import_module(_maps + "distributed_iteration_component").DistributedIterationComponent
_worker: Any = import_module(_maps + "itemprocessor.distributed_item_processor_worker").DistributedItemProcessorWorker
_jobs: Any = import_module(_maps + "job")
_ended: Any = import_module(_asl + "eval.program_state").ProgramEnded
_details: Any = import_module(_asl + "eval.event.event_detail").EventDetails
_failures: Any = import_module(_asl + "component.common.error_name.failure_event")
_state_error: Any = import_module(_asl + "component.common.error_name.states_error_name").StatesErrorName
_error_types: Any = import_module(_asl + "component.common.error_name.states_error_name_type").StatesErrorNameType
_event_types: Any = import_module("moto.stepfunctions.parser.api").HistoryEventType
_backend: Any = import_module("moto.stepfunctions.parser.models").StepFunctionsParserBackend


class Failed:
    """Stands for the output of a child that failed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def patch() -> None:
    """Put the repairs in place."""
    logging.getLogger(_parser_log).setLevel(
        logging.ERROR
    )  # it warns that tolerated failures have no effect: now they do
    replace(_jsonata, "_eval_jsonata", evaluate)
    for module in (_jsonata, _states, _variables):
        replace(module, "encode_jsonata_variable_declarations", encode)
    replace(_parser.AmazonStateLanguageParser, "parse", staticmethod(_parse(_parser.AmazonStateLanguageParser.parse)))
    replace(_distributed, "_map_run", map_run)
    replace(_worker, "_eval_job", eval_job)
    replace(_worker, "_eval_pool", eval_pool)
    replace(_backend, "start_execution", _named(_backend.start_execution))


def evaluate(expression: str) -> Any:
    """The JSON value of a JSONata expression."""
    try:
        return json.loads(json.dumps(Jsonata(expression).evaluate(None)))
    except (JException, TypeError, ValueError) as error:
        raise _jsonata.JSONataException("States.QueryEvaluationError", str(error)) from error


def encode(bindings: Mapping[str, Any]) -> str:
    """Variable declarations of a JSONata expression; moto does not escape texts."""
    return "".join(f"{name}:={json.dumps(content)};" for name, content in bindings.items())


def _parse(stock: Callable[[str], Any]) -> Callable[[str], Any]:
    """The parser without what its grammar does not know; batchers come to stand at the parsed Map states."""

    def parse(definition: str) -> Any:
        machine: dict[str, Any] = json.loads(definition)
        batchers: dict[str, Any] = {}
        for name, state in machine.get("States", {}).items():
            if state.get("Type") == "Map" and _BATCHER in state:
                if "ItemSelector" in state:
                    raise _parser.ASLParserException([f"{name}: ItemBatcher with ItemSelector is not imitated"])
                batchers[name] = state.pop(_BATCHER)
        _prepare(machine)
        program, tree = stock(json.dumps(machine))
        for name, batcher in batchers.items():
            program.states.states[name].iteration_component.batcher = batcher
        return program, tree

    return parse


def _prepare(node: Any) -> None:
    """Refuse what is not imitated, in all Map states; write the rest as the grammar wants it."""
    if isinstance(node, list):
        for entry in cast("list[Any]", node):
            _prepare(entry)
    if not isinstance(node, dict):
        return
    state = cast("dict[str, Any]", node)
    if state.get("Type") == "Map":
        refused = {"ResultWriter", _BATCHER} & set(state)
        if refused:
            raise _parser.ASLParserException([f"{', '.join(sorted(refused))} here is not imitated"])
        if isinstance(state.get("ToleratedFailurePercentage"), int):
            state["ToleratedFailurePercentage"] = float(state["ToleratedFailurePercentage"])
    if state.get("ExecutionType") == "EXPRESS":
        state["ExecutionType"] = "STANDARD"
    for entry in state.values():
        _prepare(entry)


def map_run(self: Any, env: Any, eval_input: Any) -> None:
    """``DistributedIterationComponent._map_run``: children get batches, run a few at a time, and may fail in part."""
    items: list[Any] = env.stack.pop()
    batcher: dict[str, Any] | None = getattr(self, "batcher", None)
    inputs: list[Any] = _batches(items, batcher, env) if batcher else items
    pool = _jobs.JobPool(job_program=self._get_iteration_program(), job_inputs=inputs)
    asked = eval_input.map_run_record.max_concurrency or WORKERS
    for _ in range(min(len(inputs), asked, WORKERS)):
        self._launch_worker(env=env, eval_input=eval_input, job_pool=pool)
    pool.await_jobs()
    jobs = pool.get_closed_jobs()
    failed = [job for job in jobs if isinstance(job.job_output, Failed)]
    items_failed = sum(len(inputs[job.job_index]["Items"]) if batcher else 1 for job in failed)
    if failed and not _tolerated(items_failed, len(items), eval_input):
        raise _failures.FailureEventException(_exceeded(env, items_failed, failed[0].job_output))
    env.stack.append([job.job_output for job in jobs if not isinstance(job.job_output, Failed)])


def _tolerated(failed: int, total: int, limits: Any) -> bool:
    """Whether so many failed items pass neither limit of the Map state; without a limit none may fail."""
    most, percentage = limits.tolerated_failure_count or 0, limits.tolerated_failure_percentage or 0
    within = (not most or failed <= most) and (not percentage or failed * 100 <= percentage * total)
    return bool(most or percentage) and within


def _exceeded(env: Any, failed: int, first: Failed) -> Any:
    kind = _error_types.StatesExceedToleratedFailureThreshold
    cause = f"The specified tolerated failure threshold was exceeded: {failed} items failed, first with {first.reason}"
    details = _details(taskFailedEventDetails={"error": kind.to_name(), "cause": cause})
    return _failures.FailureEvent(env, _state_error(typ=kind), _event_types.MapRunFailed, details)


def _batches(items: list[Any], batcher: Mapping[str, Any], env: Any) -> list[dict[str, Any]]:
    size = int(_value(batcher["MaxItemsPerBatch"], env))
    common = {"BatchInput": _value(batcher["BatchInput"], env)} if "BatchInput" in batcher else {}
    return [{"Items": items[first : first + size], **common} for first in range(0, len(items), size)]


def _value(template: Any, env: Any) -> Any:
    """A JSONata template of the definition, evaluated on the state's input."""
    if isinstance(template, dict):
        return {name: _value(entry, env) for name, entry in cast("dict[str, Any]", template).items()}
    if isinstance(template, list):
        return [_value(entry, env) for entry in cast("list[Any]", template)]
    if not isinstance(template, str) or not template.startswith("{%"):
        return template
    _strings.StringJSONata(template.removeprefix("{%").removesuffix("%}").strip()).eval(env=env)
    return env.stack.pop()


def eval_job(self: Any, env: Any, job: Any) -> None:
    """``DistributedItemProcessorWorker._eval_job``: one child; moto turns its failure into the result null."""
    item = {"Index": job.job_index, "Value": job.job_input}
    env.states.context_object.context_object_data["Map"] = {"Item": item}
    env.states.reset(job.job_input)
    env.stack.append(env.states.get_input())
    try:
        self._eval_input(env_frame=env)
        job.job_program.eval(env)
        ended = env.program_state()
        error: Any = getattr(ended, "error", None) or type(ended).__name__
        job.job_output = env.states.get_input() if isinstance(ended, _ended) else Failed(str(error))
    except Exception as broken:  # whatever breaks a child, the others go on
        job.job_output = Failed(f"{type(broken).__name__}: {broken}")
    for counter in (self._map_run_record.item_counter, self._map_run_record.execution_counter):
        counter.total.count()
        (counter.failed if isinstance(job.job_output, Failed) else counter.succeeded).count()


def eval_pool(self: Any, job: Any, worker_frame: Any) -> None:
    """``DistributedItemProcessorWorker._eval_pool`` as a loop: moto uses one stack frame per job."""
    while job is not None:
        frame = worker_frame.open_inner_frame()
        self._eval_job(env=frame, job=job)
        worker_frame.delete_frame(frame)
        following = None if self.stopped() else self._job_pool.next_job()
        if following is None:
            self._env.delete_frame(worker_frame)  # before the last job is closed: then the map goes on
        self._job_pool.close_job(job)
        job = following


def _named(stock: Callable[..., Any]) -> Callable[..., Any]:
    def start_execution(self: Any, state_machine_arn: str, name: str | None = None, *rest: Any, **more: Any) -> Any:
        return stock(self, state_machine_arn, name or str(uuid4()), *rest, **more)

    return start_execution
