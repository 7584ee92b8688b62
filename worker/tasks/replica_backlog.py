"""Find copies that are wanted and not there, or known to be bad."""

from drs_service.jobs.kinds import ReplicaBacklog
from drs_service.jobs.running import Task
from drs_service.usecases.replicating import Replicating


def replica_backlog(replicating: Replicating) -> Task:
    async def task(job: ReplicaBacklog) -> None:
        await replicating.take_up(job.rule, job.after)

    return task
