"""A Terraform provider with the schema and manners of terraform-provider-openstack, in Python, for tests.

The real one is in no package registry. This one has the same schema (../schema.json holds its facts), asks
the same API through openstacksdk, and behaves alike where it matters to whoever plans and applies: what
forces a replacement, what import leaves empty, what a refresh refuses, how errors are worded. Only the
waiting is shorter: the real one asks after 0, 3, 9 and 19 seconds.
"""

SLIM = False
WARM = ("openstack", "openstack.compute.v2.server", "openstack.network.v2.port")
"""Modules that the warm process imports before anybody asks for them: a third of a second."""
