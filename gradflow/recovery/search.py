"""The search for one student at the floor: widths doubling, then new students from what others agree on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from .consensus import consensus
from .students import Student, Task, fit, random_neurons

ROUND = 6
"""Students from one consensus before it is formed anew."""

CLOSE = 1e-4
"""A student below this share of the variance, and one neuron agreed on, end the doubling of widths."""

NEAR = 1e-14
"""A student below this share of the variance is reduced and finished by QR steps: where JᵀJ has lost the flat
directions, as those of pixels that are lit once, students stop short of the floor."""

PATIENCE = 12
"""After so many rounds in which the consensus does not grow, wider students are asked."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a search, all in counts.

    widest      the largest width that is tried from random neurons
    each        students of each width
    students    students in all
    iterations  Levenberg–Marquardt steps of a random student, and of one from a consensus
    per         equations per parameter
    """

    widest: int = 64
    each: int = 4
    students: int = 400
    iterations: tuple[int, int] = (150, 100)
    per: float = 5.0


def search(
    task: Task,
    rng: np.random.Generator,
    budget: Budget,
    first: int = 4,
    report: Callable[[list[Student]], None] | None = None,
    near: Callable[[Student], Student | None] = lambda student: None,
) -> list[Student]:
    """Students in the order in which they were fitted; the last is at the floor where the search succeeded.

    Random students of widths 4, 8, 16, … until several agree on a neuron. Then rounds of students that start
    from most of the neurons agreed on and 1 to 16 random ones: a student that is stuck has most of the
    teacher's neurons right, and a few wrong ones in a place from which it cannot leave. Where rounds do not
    help, wider random students are asked again.

    near   makes of a student that is close to the floor one that is at it, or gives None
    """
    students: list[Student] = []
    tried = NEAR * task.variance
    most = max(min(budget.widest, task.largest()), 1)
    width = min(first, most)

    def grow(V: np.ndarray, iterations: int) -> bool:
        student = fit(task, V, iterations=iterations, each=budget.per)
        students.append(student)
        if report is not None:
            report(students)
        nonlocal tried
        if task.goal < student.loss <= tried:
            tried = 0.1 * student.loss
            finished = near(student)
            if finished is not None:
                students.append(finished)
                return True
        return student.loss <= task.goal

    def wider() -> bool:
        for _ in range(budget.each):
            if grow(random_neurons(task, width, rng), budget.iterations[0]):
                return True
        return False

    while True:
        if wider():
            return students
        close = min(student.loss for student in students) <= CLOSE * task.variance
        agreed = close and len(consensus(task, students[-budget.each :], better=1e-2)) > 0
        if agreed or 2 * width > most:
            break
        width *= 2
    stagnant, before = 0, 0
    while len(students) < budget.students:
        common = consensus(task, students)
        stagnant = 0 if len(common) > before else stagnant + 1
        before = max(before, len(common))
        if stagnant > PATIENCE and 2 * width <= most:
            width, stagnant = 2 * width, 0
            if wider():
                return students
        for _ in range(ROUND):
            if len(common) and rng.random() < 0.9:
                kept = common[rng.random(len(common)) > rng.choice([0.0, 0.1, 0.3])]
                fresh = int(rng.choice([1, 2, 3, 4, 6, 8, 12, 16]))
            else:
                kept, fresh = common[:0], width
            fresh = max(min(fresh, most - len(kept)), 1)
            if grow(np.vstack([kept, random_neurons(task, fresh, rng)]), budget.iterations[1]):
                return students
    return students
