"""Guests on libvirt and QEMU: the Hypervisor port of one real host."""
