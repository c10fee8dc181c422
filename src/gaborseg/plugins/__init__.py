"""What Hydra finds of ours: the launcher of sweeps, and the folder of sweeps."""
