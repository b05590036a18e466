"""Small apps on real servers: gunicorn, uvicorn, node.

They answer `/r/N` with N, as the load expects. While the file $LEAVING exists, `/health` is answered with
410.
"""
