"""Answers Terraform: the plugin protocol's calls, as the old SDK for Go answers them."""

import functools
import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

from flights import Flights
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc
from tf.utils import Diagnostics, read_dynamic_value, to_dynamic_value

from openstack_provider import data_sources, instance, neutron, others, schema
from openstack_provider.cloud import KNOWN, Cloud
from openstack_provider.plan import differences, fill, known, replacing
from openstack_provider.resource import Resource

TYPES: dict[str, type[Resource]] = {
    kind.type_name: kind for kind in (instance.Instance, *neutron.TYPES, *others.TYPES)
}


def _answer(response: Any, **unchanged: str) -> Callable[..., Any]:
    """Turn an exception into a diagnostic.

    Terraform adds address and file to one without a path, as to those of the real provider; `unchanged` names
    what of the request comes back as it was.
    """

    def decorate(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def answered(self: "Servicer", request: Any, context: Any) -> Any:
            try:
                return call(self, request, context)
            except Exception as error:
                traceback.print_exc()
                diagnostics = Diagnostics().add_error(str(error) or repr(error)).to_pb()
                kept = {ours: getattr(request, theirs) for ours, theirs in unchanged.items()}
                return response(diagnostics=diagnostics, **kept)

        return answered

    return decorate


class Servicer(rpc.ProviderServicer):
    """One provider process."""

    def __init__(self) -> None:
        self.flights = Flights()
        self.stopped = threading.Event()
        self.cloud = Cloud({}, self.stopped)

    # -- schema and configuration --------------------------------------------------------------------

    def GetMetadata(self, request: Any, context: Any) -> Any:
        """Say what can be left out."""
        return pb.GetMetadata.Response(server_capabilities=self._capabilities())

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        """Tell the schema."""
        facts = schema.facts()
        resources, sources = facts["resource_schemas"], facts["data_source_schemas"]
        return pb.GetProviderSchema.Response(
            provider=schema.described(facts["provider_schema"]),
            resource_schemas={name: schema.described(entry) for name, entry in resources.items()},
            data_source_schemas={name: schema.described(entry) for name, entry in sources.items()},
            server_capabilities=self._capabilities(),
        )

    @staticmethod
    def _capabilities() -> Any:
        return pb.ServerCapabilities(get_provider_schema_optional=True)

    def GetFunctions(self, request: Any, context: Any) -> Any:
        """There are none."""
        return pb.GetFunctions.Response()

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        """Refuse what would be silently ignored."""
        config = read_dynamic_value(request.config)
        diagnostics = Diagnostics()
        for name in sorted(set(config) - set(KNOWN)):
            if config[name] is not None:
                diagnostics.add_error(f"The provider for tests does not know {name}", path=[name])
        return pb.ValidateProviderConfig.Response(diagnostics=diagnostics.to_pb())

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        """Terraform has checked the schema already."""
        return pb.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        """The same."""
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        """There is one version of each schema."""
        state = json.loads(request.raw_state.json)
        return pb.UpgradeResourceState.Response(upgraded_state=to_dynamic_value(state))

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        """Remember the settings; nothing is asked of the cloud yet."""
        self.cloud = Cloud(read_dynamic_value(request.config), self.stopped)
        return pb.ConfigureProvider.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:
        """End all waiting: a server that is being created is in the state, tainted."""
        self.stopped.set()
        return pb.StopProvider.Response()

    # -- resources -----------------------------------------------------------------------------------

    @_answer(pb.ReadResource.Response, new_state="current_state")
    def ReadResource(self, request: Any, context: Any) -> Any:
        """Refresh."""
        state = read_dynamic_value(request.current_state)
        there = TYPES[request.type_name](self.cloud).read(state)
        return pb.ReadResource.Response(new_state=to_dynamic_value(state if there else None))

    @_answer(pb.PlanResourceChange.Response, planned_state="prior_state")
    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """Say what a change would make of the state."""
        prior, proposed, config = map(
            read_dynamic_value, (request.prior_state, request.proposed_new_state, request.config)
        )
        if proposed is None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        resource = TYPES[request.type_name](self.cloud)
        planned = fill(resource.block, proposed, resource.defaults, create=prior is None)
        resource.planned(prior, planned, config)
        paths = [] if prior is None else differences(resource.block, prior, planned)
        if prior is not None:
            # As the SDK has it: what was there, and the differences. Other time limits alone are none.
            changed = {path[0] for path in paths} | ({"timeouts"} if paths else set())
            planned = prior | {name: planned[name] for name in changed & set(planned)}
        return pb.PlanResourceChange.Response(
            planned_state=to_dynamic_value(planned),
            requires_replace=[_path(path) for path in replacing(paths, resource.forcing(prior or {}))],
            legacy_type_system=True,
        )

    @_answer(pb.ApplyResourceChange.Response, new_state="prior_state")
    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        """Create, update or delete; with an error the state keeps what was done and wanted, as in the SDK."""
        prior, planned, config = map(
            read_dynamic_value, (request.prior_state, request.planned_state, request.config)
        )
        resource, state = TYPES[request.type_name](self.cloud), known(planned)
        diagnostics = Diagnostics()
        with self.flights.one():
            try:
                if planned is None:
                    resource.delete(prior)
                elif prior is None:
                    resource.create(state, config)
                else:
                    resource.update(prior, state)
            except Exception as error:
                traceback.print_exc()
                diagnostics.add_error(str(error) or repr(error))
                if planned is None:
                    state = prior
                elif not state["id"]:
                    state = None
        return pb.ApplyResourceChange.Response(
            new_state=to_dynamic_value(state), diagnostics=diagnostics.to_pb(), legacy_type_system=True
        )

    @_answer(pb.ImportResourceState.Response)
    def ImportResourceState(self, request: Any, context: Any) -> Any:
        """Take over something that exists, as far as it can be read."""
        state = TYPES[request.type_name](self.cloud).imported(request.id)
        made = pb.ImportResourceState.ImportedResource(
            type_name=request.type_name, state=to_dynamic_value(state)
        )
        return pb.ImportResourceState.Response(imported_resources=[made])

    @_answer(pb.ReadDataSource.Response)
    def ReadDataSource(self, request: Any, context: Any) -> Any:
        """Look something up."""
        found = data_sources.read(self.cloud, request.type_name, read_dynamic_value(request.config))
        return pb.ReadDataSource.Response(state=to_dynamic_value(found))


def _path(parts: tuple[Any, ...]) -> Any:
    step = pb.AttributePath.Step
    return pb.AttributePath(
        steps=[
            step(element_key_int=part) if isinstance(part, int) else step(attribute_name=part)
            for part in parts
        ]
    )
