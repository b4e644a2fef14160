"""Making images: catalogue, prompts, moderation, jobs, engines, storage.

Start reading at `jobs.py` (every change of a job's state), then `runner.py` (one job from claim to result).
This package may import billing and accounts. torch is imported only by `engine/diffusers.py`.
"""
