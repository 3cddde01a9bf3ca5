"""Training: the whole loop compiled into one program.

```python
job = train.compile(model, loss="cross_entropy", optimizer=optim.adam(1e-3), data=data.arrays(x, y), batch_size=128)
history = job.fit(epochs=10, validation=(xv, yv))
```
"""

from graphc.train.callbacks import BestModel, Callback, Checkpoint, EarlyStopping, Event, StopWhen
from graphc.train.compilation import compile, resume
from graphc.train.history import History
from graphc.train.job import Job
from graphc.train.objective import LOSSES, METRICS

__all__ = [
    "LOSSES",
    "METRICS",
    "BestModel",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Event",
    "History",
    "Job",
    "StopWhen",
    "compile",
    "resume",
]
