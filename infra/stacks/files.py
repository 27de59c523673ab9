"""Files that become events: dropped into the bucket or handed in piece by piece, and the machine for both."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets

from infra.constructs.function import Environment, Job
from infra.constructs.imports import STEPS, ImportMachine
from infra.constructs.machine import LONGEST_BATCH_S
from infra.constructs.role import allow
from infra.stacks.access import budgets, list_objects, objects, quarantine, read_control
from infra.stacks.capability import CapabilityStack


def add_imports(stack: CapabilityStack) -> ImportMachine:
    """Add the functions of imports to a stack; what is dropped starts one, which hands large files to the machine."""
    data = stack.data
    tables: Environment = {
        "control_table": data.control.table_name,
        "delivery_table": data.delivery.table_name,
        "stream": data.stream.stream_name,
        "bucket": data.bucket.bucket_name,
    }
    work = [
        *read_control(data),
        budgets(data),
        allow(["kinesis:PutRecords"], data.stream.stream_arn),
        quarantine(data),
        objects(data.bucket, ["s3:GetObject", "s3:PutObject"], "importing/"),
        list_objects(data.bucket),
    ]
    files = objects(data.bucket, ["s3:GetObject", "s3:PutObject"], "imports/")
    about = {
        "Plan": "Import: cut a file into pieces",
        "Pieces": "Import: map pieces to events, put them on the stream",
        "Finish": "Import: sum up",
    }
    handlers = {"Plan": "plan", "Pieces": "do_pieces", "Finish": "finish"}
    steps = {
        step: stack.function(
            f"Import{step}Function",
            Job(
                handler=f"hoso.collect.handlers.imports.{handlers[step]}",
                description=about[step],
                environment=tables,
                permissions=work if step == "Pieces" else [*work, files],
                analytics=step == "Plan",
                timeout_s=LONGEST_BATCH_S if step == "Pieces" else 900,
                memory_mb=1769,
                scratch_mb=4096 if step == "Plan" else 512,
            ),
        )
        for step in STEPS
    }
    machines = ImportMachine(stack, "Imports", functions=steps, bucket=data.bucket, parameters=stack.parameters)
    machine = machines.machine.state_machine_arn
    start = allow(["states:StartExecution"], machine)
    dropped = stack.function(
        "ImportDroppedFunction",
        Job(
            handler="hoso.collect.handlers.imports.dropped",
            description="Import: begin with a file that was put into the bucket",
            environment={**tables, "machine": machine},
            permissions=[*work, files, start],
            analytics=True,
            timeout_s=900,
            memory_mb=1769,
            asynchronous=True,
        ),
    )
    events.Rule(
        stack,
        "Dropped",
        description="To ImportDroppedFunction",
        event_pattern=events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [data.bucket.bucket_name]},
                "object": {"key": [{"prefix": "imports/"}]},
            },
        ),
        targets=[
            targets.LambdaFunction(  # pyright: ignore[reportArgumentType]
                dropped.target, dead_letter_queue=stack.failed, max_event_age=cdk.Duration.hours(24)
            )
        ],
    )
    stack.function(
        "ImportAdminFunction",
        Job(
            handler="hoso.collect.handlers.import_admin.handler",
            description="Admin API: imports, piece by piece",
            environment={**tables, "machine": machine},
            permissions=[*work, start],
            timeout_s=29,
            memory_mb=1769,
        ),
        routes=[
            "GET /v1/imports",
            "POST /v1/imports",
            "GET /v1/imports/{id}",
            "PUT /v1/imports/{id}/pieces/{n}",
            "POST /v1/imports/{id}/start",
        ],
    )
    return machines
