"""ML2 mechanism driver that binds every port at once, without an agent.

A port whose host or name matches the regular expression in the file named by
OSLAB_NOBIND_FILE (if there is one) is left unbound: Nova then reports
PortBindingFailed, as with a dead agent.
"""

import os
import re

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class Driver(api.MechanismDriver):
    def initialize(self):
        self.nobind = os.environ.get("OSLAB_NOBIND_FILE", "")

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def _refused(self, context):
        try:
            with open(self.nobind) as f:
                pattern = f.read().strip()
        except OSError:
            return False
        name = context.current.get("name") or ""
        return bool(pattern) and bool(re.search(pattern, context.host or "") or re.search(pattern, name))

    def bind_port(self, context):
        if self._refused(context):
            return
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )
            return
