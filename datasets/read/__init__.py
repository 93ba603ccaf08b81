"""Series from tables and files, every value and time checked."""

from qkan.datasets.read.columns import Columns
from qkan.datasets.read.csv_form import CsvForm
from qkan.datasets.read.file import file_series, is_data_path, read_future, read_series
from qkan.datasets.read.frames import as_pandas, like
from qkan.datasets.read.limits import TooLargeError, check_parquet
from qkan.datasets.read.protocols import PROTOCOLS, protocol_series
from qkan.datasets.read.select import check_names, first_values, keep_series, left_out
from qkan.datasets.read.table import future_frame, series_from_frame

__all__ = [
    "PROTOCOLS",
    "Columns",
    "CsvForm",
    "TooLargeError",
    "as_pandas",
    "check_names",
    "check_parquet",
    "file_series",
    "first_values",
    "future_frame",
    "is_data_path",
    "keep_series",
    "left_out",
    "like",
    "protocol_series",
    "read_future",
    "read_series",
    "series_from_frame",
]
