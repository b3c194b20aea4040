"""The Terraform provider of the local cloud (demo/local_cloud), on PyPI `tf`.

Attributes and blocks are named as those of OpenStack's provider, so that what reads plans of the
one reads plans of the other.
"""

SLIM = True
"""Nothing here needs what main.py leaves out."""
WARM = ()
"""Modules that the warm process imports before anybody asks for them."""
