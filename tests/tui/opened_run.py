"""A run that a person has opened on the dashboard, for tests."""

from support.person import Person

from linftui.rundir.paths import RunPaths
from linftui.rundir.reader import read_all
from linftui.rundir.records import TrainRecord
from linftui.tui.screens.run import RunScreen


def screen_of(person: Person) -> RunScreen:
    """The run's screen, whatever is over it."""
    return next(screen for screen in person.app.screen_stack if isinstance(screen, RunScreen))


async def opened(person: Person) -> RunScreen:
    """The run's screen once all of the run was read."""
    await person.until(lambda: screen_of(person).model.standing is not None)
    await person.sees("eps 0.1")
    return screen_of(person)


def train_record(paths: RunPaths) -> TrainRecord:
    """The last record of training."""
    return [record for record in read_all(paths) if isinstance(record, TrainRecord)][-1]
