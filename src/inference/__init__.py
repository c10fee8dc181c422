from src.inference.archive import read_checkpoint, read_settings
from src.inference.batch import Problem, segment_all
from src.inference.deployed import OUTPUTS, Deployed, metadata_of
from src.inference.description import ModelError, check_description, check_node
from src.inference.exported import load_exported, read_exported
from src.inference.exporting import (
    exported_program,
    require_onnx,
    write_onnx,
    write_torch_export,
)
from src.inference.inputs import ScanFiles, find_scans
from src.inference.model import Facts, Model, facts_of
from src.inference.outputs import whole_file
from src.inference.results import Results, digest
from src.inference.segmenter import Segmentation, Segmenter
from src.inference.verification import Difference, difference, smooth_noise

__all__ = [
    "OUTPUTS",
    "Deployed",
    "Difference",
    "Facts",
    "Model",
    "ModelError",
    "Problem",
    "Results",
    "ScanFiles",
    "Segmentation",
    "Segmenter",
    "check_description",
    "check_node",
    "difference",
    "digest",
    "exported_program",
    "facts_of",
    "find_scans",
    "load_exported",
    "metadata_of",
    "read_checkpoint",
    "read_exported",
    "read_settings",
    "require_onnx",
    "segment_all",
    "smooth_noise",
    "whole_file",
    "write_onnx",
    "write_torch_export",
]
