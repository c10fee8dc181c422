"""From a scan to its label map, in the scan's own space."""

from gaborseg.inference.prediction import predict

__all__ = ["predict"]
