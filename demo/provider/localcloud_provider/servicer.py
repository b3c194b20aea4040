"""tf's servicer with cures for what it lacks (each comment names one)."""

import functools
import traceback
from collections.abc import Callable
from typing import Any

from flights import Flights
from tf.gen import tfplugin_pb2 as pb
from tf.provider import ProviderServicer, read_dynamic_value
from tf.utils import Diagnostics

from localcloud_provider.provider import LocalCloud


def _answer(call: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into a diagnostic with a path.

    Otherwise Terraform shows "Plugin error" without the resource's address, and forgets the state.
    """

    @functools.wraps(call)
    def answered(self: "Servicer", request: Any, context: Any) -> Any:
        try:
            return call(self, request, context)
        except Exception as error:
            traceback.print_exc()
            diags = Diagnostics().add_error(
                f"{request.type_name}: {error}", f"{type(error).__name__}: {error}", path=["name"]
            )
            return self.failed(call.__name__, request, diags.to_pb())

    return answered


class Servicer(ProviderServicer):
    """The plugin protocol's calls, version 6."""

    def __init__(self, provider: LocalCloud) -> None:
        super().__init__(provider)
        self.flights = Flights()

    def failed(self, call: str, request: Any, diagnostics: Any) -> Any:
        """Answer with the state as it was."""
        if call == "PlanResourceChange":
            return pb.PlanResourceChange.Response(planned_state=request.prior_state, diagnostics=diagnostics)
        if call == "ApplyResourceChange":
            return pb.ApplyResourceChange.Response(new_state=request.prior_state, diagnostics=diagnostics)
        if call == "ReadResource":
            return pb.ReadResource.Response(new_state=request.current_state, diagnostics=diagnostics)
        return pb.ImportResourceState.Response(diagnostics=diagnostics)

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        """Say also that one reading of the schema is enough for a run of Terraform."""
        response = super().GetProviderSchema(request, context)
        response.server_capabilities.get_provider_schema_optional = True
        return response

    @_answer
    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """Add the attributes of nested blocks that force a replacement; tf knows top-level ones only."""
        response = super().PlanResourceChange(request, context)
        before = (read_dynamic_value(request.prior_state) or {}).get("network")
        after = (read_dynamic_value(request.proposed_new_state) or {}).get("network")
        if before and after and before[0]["fixed_ip_v4"] != after[0]["fixed_ip_v4"]:
            step = pb.AttributePath.Step
            steps = [
                step(attribute_name="network"),
                step(element_key_int=0),
                step(attribute_name="fixed_ip_v4"),
            ]
            response.requires_replace.append(pb.AttributePath(steps=steps))
        return response

    @_answer
    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        """Count it, so that we don't leave in the middle of one."""
        with self.flights.one():
            return super().ApplyResourceChange(request, context)

    @_answer
    def ReadResource(self, request: Any, context: Any) -> Any:
        """Read, with errors as diagnostics."""
        return super().ReadResource(request, context)

    @_answer
    def ImportResourceState(self, request: Any, context: Any) -> Any:
        """Import; an unknown id is an error with words."""
        response = super().ImportResourceState(request, context)
        if not response.imported_resources and not response.diagnostics:
            raise LookupError(f"there is no {request.type_name} with the id {request.id}")
        return response
