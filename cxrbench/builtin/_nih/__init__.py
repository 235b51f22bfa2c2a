"""Reading NIH's table, lists, boxes and image folders."""
