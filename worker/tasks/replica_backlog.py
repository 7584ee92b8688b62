"""Find copies that are wanted and not there, or known to be bad."""

from drs_service.jobs.attempts import Attempt
from drs_service.jobs.kinds import ReplicaBacklog
from drs_service.jobs.tasks import Task
from drs_service.usecases.replicating import Replicating


def replica_backlog(replicating: Replicating) -> Task:
    async def run(job: ReplicaBacklog, attempt: Attempt) -> None:
        await replicating.take_up(job.rule, job.after)

    return Task(run=run)
