"""Of a few upstreams drawn at random, the one with the fewest requests in flight for its weight."""

from balancer.policies.base import Policy


class BestOf(Policy):
    summary = "the least loaded of a few drawn at random"
    compares_load = True  # remote_inflight is kept up to date

    def __init__(self, context, *, choices: int = 3):
        super().__init__(context)
        if choices < 2:
            raise ValueError(f"choices is {choices}; write 2 or more")
        self.choices = choices
        self.candidates = []

    def rebuild(self, candidates):
        self.candidates = list(candidates)

    def pick(self, key, tried):
        left = [one for one in self.candidates if one not in tried] if tried else self.candidates
        drawn = self.context.random.sample(left, min(self.choices, len(left)))
        return min(drawn, key=self.load, default=None)

    def load(self, upstream):
        inflight = upstream.inflight + upstream.remote_inflight
        # Less than one request, by chance: so ties are settled, and by weight too.
        return (inflight + self.context.random.random()) / upstream.effective_weight
