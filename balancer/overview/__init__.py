"""What the dashboard shows (L5): rates and percentiles of the last seconds, their history, and findings in
words.

Once a second the supervisor takes a sample; what is here turns samples into what people read. Nothing here
knows a socket, a worker or the stats segment.
"""
