"""What only the background side of jobs may hear; callers over HTTP get ``app.errors``."""


class StaleFenceError(Exception):
    """Raised when a write carries an attempt number that no longer owns the job.

    Nothing was written. The worker that gets it must stop and drop its outputs: another attempt
    runs, or the job was ended. A retry never helps.
    """

    def __init__(self, *, job_id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} no longer owns {job_id}; drop this run's outputs")
        self.job_id = job_id
        self.attempt = attempt
