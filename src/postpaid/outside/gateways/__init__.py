"""Payment gateways: one protocol, one file each."""
