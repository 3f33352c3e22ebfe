"""What dcbench promises when something goes wrong, fault by fault, with real processes."""
