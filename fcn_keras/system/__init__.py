"""What the package needs of the machine: files, processor, memory, devices, sockets, terminal."""
