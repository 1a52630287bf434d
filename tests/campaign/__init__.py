"""The crash campaign: writers that log what they intend, faults from a seed, and a judge that compares.

run.py is the command, campaign.py one run; workload.py says what is written, writer.py is one writer's
process, faults.py what is broken, verdict.py what is compared. The inbox path has the same, named inbox_*:
inbox_sender.py is one other service's process, inbox_worker.py one of business code.
"""
