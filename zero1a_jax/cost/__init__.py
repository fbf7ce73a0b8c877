"""What a run will cost, counted from traced programs: nothing is compiled and no model is allocated."""
