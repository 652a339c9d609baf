"""The Placement API, microversions 1.0 to 1.39: https://docs.openstack.org/api-ref/placement/."""
