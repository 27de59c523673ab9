"""How each resource type of the templates is made on a laptop: in moto, or as an entry of the registry."""

from __future__ import annotations

import json
from typing import Any

from infra.twin.assembly import AssemblyError, Made, Resource
from infra.twin.provision import Props, Site, maker
from infra.twin.registry import Authorizer, Function, Route, RuleTarget, Schedule, Source, Target, logical_name
from infra.twin.registry import Rule as BusRule

_DAY_S = 86_400
_BUCKET_LIMIT = 63


@maker("AWS::DynamoDB::Table")
def table(props: Props, resource: Resource, site: Site) -> Made:
    """A table; backups, protection and encryption change nothing here."""
    props.skip("PointInTimeRecoverySpecification", "DeletionProtectionEnabled", "SSESpecification", "TableClass")
    name = props.take("TableName") or site.name(resource)
    ttl = props.part("TimeToLiveSpecification")
    stream = props.part("StreamSpecification")
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": props.need("KeySchema"),
        "AttributeDefinitions": props.need("AttributeDefinitions"),
        "BillingMode": props.take("BillingMode", "PROVISIONED"),
    }
    for optional in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes", "ProvisionedThroughput"):
        if optional in props:
            request[optional] = props.take(optional)
    view = stream.take("StreamViewType")
    if view:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": view}
    made = site.client("dynamodb").create_table(**request)["TableDescription"]
    attribute = ttl.take("AttributeName")
    site.deployment.tables[name] = attribute if ttl.take("Enabled") else None
    site.deployment.names[_path(resource)] = name
    return Made(name, {"Arn": made["TableArn"], "StreamArn": made.get("LatestStreamArn", "")})


@maker("AWS::Kinesis::Stream")
def stream(props: Props, resource: Resource, site: Site) -> Made:
    """A stream; encryption and retention change nothing here (unread records are kept, read ones forgotten)."""
    props.skip("StreamEncryption", "RetentionPeriodHours")
    name = props.take("Name") or site.name(resource)
    mode = props.part("StreamModeDetails").take("StreamMode", "PROVISIONED")
    request: dict[str, Any] = {"StreamName": name, "StreamModeDetails": {"StreamMode": mode}}
    shards = props.take("ShardCount")
    if mode == "PROVISIONED":
        request["ShardCount"] = int(shards or 1)
    site.client("kinesis").create_stream(**request)
    site.deployment.streams.append(name)
    site.deployment.names[_path(resource)] = name
    return Made(name, {"Arn": site.arn("kinesis", f"stream/{name}")})


@maker("AWS::S3::Bucket")
def bucket(props: Props, resource: Resource, site: Site) -> Made:
    """A bucket. Objects do not expire, old versions are not kept over a restart, nothing is logged."""
    props.skip("PublicAccessBlockConfiguration", "BucketEncryption", "LifecycleConfiguration", "LoggingConfiguration")
    props.skip("OwnershipControls", "AccessControl")
    name = props.take("BucketName") or site.name(resource, _BUCKET_LIMIT).lower()
    client = site.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": site.region})
    versioning = props.part("VersioningConfiguration").take("Status")
    if versioning:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning})
    site.deployment.buckets.append(name)
    if props.part("NotificationConfiguration").part("EventBridgeConfiguration").take("EventBridgeEnabled"):
        site.deployment.notifying.add(name)
    site.deployment.names[_path(resource)] = name
    domain = f"{name}.s3.amazonaws.com"
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": domain,
            "RegionalDomainName": f"{name}.s3.{site.region}.amazonaws.com",
        },
    )


@maker("AWS::SQS::Queue")
def queue(props: Props, resource: Resource, site: Site) -> Made:
    """A queue with its redrive policy; encryption changes nothing here."""
    props.skip("SqsManagedSseEnabled", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "RedriveAllowPolicy")
    name = props.take("QueueName") or site.name(resource)
    attributes: dict[str, str] = {}
    for attribute in (
        "VisibilityTimeout",
        "MessageRetentionPeriod",
        "DelaySeconds",
        "MaximumMessageSize",
        "ReceiveMessageWaitTimeSeconds",
    ):
        if attribute in props:
            attributes[attribute] = str(props.take(attribute))
    redrive = props.take("RedrivePolicy")
    if redrive:
        attributes["RedrivePolicy"] = json.dumps(redrive)
    url = site.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    arn = site.arn("sqs", name)
    site.deployment.queues[arn] = url
    site.deployment.names[_path(resource)] = name
    return Made(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})


@maker("AWS::Events::EventBus")
def event_bus(props: Props, resource: Resource, site: Site) -> Made:
    """A bus; the twin itself delivers what is put on it."""
    props.skip("Description", "DeadLetterConfig", "LogConfig")
    name = props.take("Name") or site.name(resource)
    site.client("events").create_event_bus(Name=name)
    site.deployment.names[_path(resource)] = name
    return Made(name, {"Arn": site.arn("events", f"event-bus/{name}"), "Name": name})


@maker("AWS::Events::Rule")
def rule(props: Props, resource: Resource, site: Site) -> Made:
    """A rule of a bus, or an old-style schedule."""
    props.skip("Description")
    name = props.take("Name") or site.name(resource)
    arn = site.arn("events", f"rule/{name}")
    enabled = props.take("State", "ENABLED") == "ENABLED"
    bus = str(props.take("EventBusName", "default")).rsplit("/", 1)[-1]
    pattern = props.take("EventPattern")
    expression = props.take("ScheduleExpression")
    targets = tuple(_rule_target(entry, name) for entry in props.parts("Targets"))
    if enabled and pattern is not None:
        text = pattern if isinstance(pattern, str) else json.dumps(pattern)
        site.deployment.rules.append(BusRule(name, arn, bus, text, targets))
    if enabled and expression:
        for entry in targets:
            site.deployment.schedules.append(Schedule(name, arn, expression, "UTC", entry.target, entry.text or "{}"))
    return Made(name, {"Arn": arn})


def _rule_target(entry: Props, rule_name: str) -> RuleTarget:
    entry.skip("RoleArn")
    retry = entry.part("RetryPolicy")
    target = Target(
        key=f"{rule_name}/{entry.need('Id')}",
        arn=entry.need("Arn"),
        retries=int(retry.take("MaximumRetryAttempts", 185)),
        max_age_s=float(retry.take("MaximumEventAgeInSeconds", _DAY_S)),
        dead_letter=entry.part("DeadLetterConfig").take("Arn"),
    )
    transformer = entry.part("InputTransformer")
    return RuleTarget(
        target,
        template=transformer.take("InputTemplate"),
        paths=transformer.take("InputPathsMap", {}),
        text=entry.take("Input"),
        path=entry.take("InputPath"),
    )


@maker("AWS::Scheduler::Schedule")
def schedule(props: Props, resource: Resource, site: Site) -> Made:
    """A schedule; flexible windows are taken as OFF."""
    props.skip("Description", "FlexibleTimeWindow", "GroupName")
    name = props.take("Name") or site.name(resource)
    arn = site.arn("scheduler", f"schedule/default/{name}")
    target = props.part("Target")
    target.skip("RoleArn")
    retry = target.part("RetryPolicy")
    if props.take("State", "ENABLED") == "ENABLED":
        entry = Schedule(
            name=name,
            arn=arn,
            expression=props.need("ScheduleExpression"),
            zone=props.take("ScheduleExpressionTimezone", "UTC"),
            target=Target(
                key=f"schedule/{name}",
                arn=target.need("Arn"),
                retries=int(retry.take("MaximumRetryAttempts", 185)),
                max_age_s=float(retry.take("MaximumEventAgeInSeconds", _DAY_S)),
                dead_letter=target.part("DeadLetterConfig").take("Arn"),
            ),
            payload=target.take("Input", "{}"),
        )
        site.deployment.schedules.append(entry)
    return Made(name, {"Arn": arn})


@maker("AWS::Lambda::Function")
def function(props: Props, resource: Resource, site: Site) -> Made:
    """A function on its asset folder; runtime, architecture and layers are those of the virtual environment."""
    props.skip("Architectures", "Runtime", "Layers", "Description", "TracingConfig", "EphemeralStorage")
    props.skip("LoggingConfig", "ReservedConcurrentExecutions", "RecursiveLoop", "PackageType")
    name = props.take("FunctionName") or site.name(resource)
    code = props.part("Code")
    code.skip("S3Bucket")
    key = code.need("S3Key")
    folder = site.assembly.assets.get(key)
    if folder is None or not folder.is_dir():
        raise AssemblyError(f"{resource.where}: no asset folder for {key}")
    arn = site.arn("lambda", f"function:{name}")
    made = Function(
        name=name,
        logical=logical_name(resource.logical_id),
        arn=arn,
        handler=props.need("Handler"),
        folder=folder.resolve(),
        environment={**props.part("Environment").take("Variables", {}), **site.injected},
        timeout_s=int(props.take("Timeout", 3)),
        memory_mb=int(props.take("MemorySize", 128)),
        role=props.need("Role"),
        dead_letter=props.part("DeadLetterConfig").take("TargetArn"),
    )
    site.deployment.functions[arn] = made
    site.deployment.invoke_settings[arn] = Target(arn, arn, retries=2, max_age_s=6 * 3600, dead_letter=made.dead_letter)
    return Made(name, {"Arn": arn})


@maker("AWS::Lambda::EventInvokeConfig")
def invoke_settings(props: Props, resource: Resource, site: Site) -> Made:
    """How queued invocations of a function are tried."""
    props.skip("Qualifier")
    target = site.deployment.function(props.need("FunctionName"))
    destination = props.part("DestinationConfig")
    on_failure = destination.part("OnFailure").take("Destination")
    site.deployment.invoke_settings[target.arn] = Target(
        key=target.arn,
        arn=target.arn,
        retries=int(props.take("MaximumRetryAttempts", 2)),
        max_age_s=float(props.take("MaximumEventAgeInSeconds", 6 * 3600)),
        dead_letter=on_failure or target.dead_letter,
    )
    return Made(site.name(resource))


@maker("AWS::Lambda::EventSourceMapping")
def source(props: Props, resource: Resource, site: Site) -> Made:
    """A poller. One batch per shard and function at a time, from the beginning: streams are empty at the start."""
    props.skip("ParallelizationFactor", "ScalingConfig", "StartingPosition")
    name = site.name(resource)
    entry = Source(
        key=name,
        arn=props.need("EventSourceArn"),
        function=site.deployment.function(props.need("FunctionName")).arn,
        batch_size=int(props.take("BatchSize", 10 if ":sqs:" in props.need("EventSourceArn") else 100)),
        window_s=float(props.take("MaximumBatchingWindowInSeconds", 0)),
        retries=int(props.take("MaximumRetryAttempts", -1)),
        max_age_s=float(props.take("MaximumRecordAgeInSeconds", -1)),
        bisect=bool(props.take("BisectBatchOnFunctionError", False)),
        partial="ReportBatchItemFailures" in props.take("FunctionResponseTypes", []),
        on_failure=props.part("DestinationConfig").part("OnFailure").take("Destination"),
        filters=tuple(part.need("Pattern") for part in props.part("FilterCriteria").parts("Filters")),
    )
    if props.take("Enabled", True):
        site.deployment.sources.append(entry)
    return Made(name, {"Id": name})


@maker("AWS::StepFunctions::StateMachine")
def state_machine(props: Props, resource: Resource, site: Site) -> Made:
    """A state machine, run by moto's interpreter."""
    props.skip("LoggingConfiguration", "TracingConfiguration", "EncryptionConfiguration", "StateMachineType")
    name = props.take("StateMachineName") or site.name(resource)
    definition = props.take("DefinitionString") or json.dumps(props.take("Definition"))
    for placeholder, value in props.take("DefinitionSubstitutions", {}).items():
        definition = definition.replace("${" + placeholder + "}", str(value))
    made = site.client("stepfunctions").create_state_machine(
        name=name, definition=definition, roleArn=props.need("RoleArn")
    )
    site.deployment.machines.append(made["stateMachineArn"])
    site.deployment.names[_path(resource)] = name
    return Made(made["stateMachineArn"], {"Arn": made["stateMachineArn"], "Name": name})


@maker("AWS::Cognito::UserPool")
def user_pool(props: Props, resource: Resource, site: Site) -> Made:
    """A user pool stands only for its issuer; the twin signs tokens itself."""
    for name in ("AccountRecoverySetting", "AdminCreateUserConfig", "AutoVerifiedAttributes", "DeletionProtection"):
        props.skip(name)
    for name in ("EmailVerificationMessage", "EmailVerificationSubject", "EnabledMfas", "MfaConfiguration", "Policies"):
        props.skip(name)
    for name in ("SmsVerificationMessage", "UsernameAttributes", "UserPoolAddOns", "VerificationMessageTemplate"):
        props.skip(name)
    for name in ("AliasAttributes", "UsernameConfiguration", "UserPoolName", "UserPoolTier", "Schema"):
        props.skip(name)
    pool = f"{site.region}_{resource.logical_id}"
    provider = f"cognito-idp.{site.region}.amazonaws.com/{pool}"
    arn = site.arn("cognito-idp", f"userpool/{pool}")
    return Made(pool, {"Arn": arn, "ProviderName": provider, "ProviderURL": f"https://{provider}", "UserPoolId": pool})


@maker("AWS::Cognito::UserPoolClient")
def user_pool_client(props: Props, resource: Resource, site: Site) -> Made:  # noqa: ARG001
    """A client stands only for the audience of the tokens."""
    for name in ("AccessTokenValidity", "IdTokenValidity", "RefreshTokenValidity", "TokenValidityUnits", "UserPoolId"):
        props.skip(name)
    for name in ("AllowedOAuthFlows", "AllowedOAuthFlowsUserPoolClient", "AllowedOAuthScopes", "CallbackURLs"):
        props.skip(name)
    for name in ("ExplicitAuthFlows", "GenerateSecret", "PreventUserExistenceErrors", "SupportedIdentityProviders"):
        props.skip(name)
    props.skip("ClientName", "LogoutURLs", "EnableTokenRevocation")
    client = resource.logical_id.lower()
    return Made(client, {"ClientId": client})


@maker("AWS::ApiGatewayV2::Api")
def http_api(props: Props, resource: Resource, site: Site) -> Made:
    """An HTTP API; all share the twin's one port."""
    props.skip("Name", "Description", "DisableExecuteApiEndpoint")
    if props.need("ProtocolType") != "HTTP":
        raise AssemblyError(f"{resource.where}: only HTTP APIs are imitated")
    name = site.name(resource)
    cors = props.take("CorsConfiguration")
    if cors:
        site.deployment.cors[name] = cors
    endpoint = f"https://{name.lower()}.execute-api.{site.region}.amazonaws.com"
    return Made(name, {"ApiEndpoint": endpoint, "ApiId": name})


@maker("AWS::ApiGatewayV2::Integration")
def integration(props: Props, resource: Resource, site: Site) -> Made:
    """The Lambda behind a route."""
    props.skip("ApiId", "IntegrationMethod", "TimeoutInMillis", "Description")
    if props.need("IntegrationType") != "AWS_PROXY" or props.need("PayloadFormatVersion") != "2.0":
        raise AssemblyError(f"{resource.where}: only Lambda proxies with payload 2.0 are imitated")
    name = site.name(resource)
    arn = props.need("IntegrationUri")
    site.deployment.integrations[name] = site.deployment.function(arn).arn
    return Made(name)


@maker("AWS::ApiGatewayV2::Authorizer")
def authorizer(props: Props, resource: Resource, site: Site) -> Made:
    """A JWT authorizer on the Authorization header."""
    props.skip("ApiId", "Name")
    if props.need("AuthorizerType") != "JWT" or props.need("IdentitySource") != ["$request.header.Authorization"]:
        raise AssemblyError(f"{resource.where}: only JWT in the Authorization header is imitated")
    jwt = props.part("JwtConfiguration")
    name = site.name(resource)
    site.deployment.authorizers[name] = Authorizer(name, jwt.need("Issuer"), tuple(jwt.need("Audience")))
    return Made(name, {"AuthorizerId": name})


@maker("AWS::ApiGatewayV2::Route")
def route(props: Props, resource: Resource, site: Site) -> Made:
    """A route; scopes are not imitated."""
    kind = props.take("AuthorizationType", "NONE")
    if kind not in ("NONE", "JWT"):
        raise AssemblyError(f"{resource.where}: authorization {kind} is not imitated")
    name = site.name(resource)
    site.deployment.routes.append(
        Route(
            api=props.need("ApiId"),
            key=props.need("RouteKey"),
            integration=props.need("Target").removeprefix("integrations/"),
            authorizer=props.take("AuthorizerId"),
        )
    )
    return Made(name)


def _path(resource: Resource) -> str:
    return f"{resource.stack}/{logical_name(resource.logical_id)}"
