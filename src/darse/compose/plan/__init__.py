"""What has to be done to get from what an engine has to what a project says.

`actual` is what is there, `steps` what can be done, `up` decides. Pure: the same project and the same engine give the
same plan, and what was begun and not finished is just another state to start from.
"""
