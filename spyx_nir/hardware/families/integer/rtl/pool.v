// The place behind a pool: row and column divided by the window. Outside every window, `is_inside` is 0.
module pool #(
    parameter WINDOW = 1,
    parameter HEIGHT = 1,  // behind the pool
    parameter WIDTH = 1,
    parameter ROW_BITS = 1,
    parameter COLUMN_BITS = 1
) (
    input [ROW_BITS-1:0] y,
    input [COLUMN_BITS-1:0] x,
    output is_inside,
    output [ROW_BITS-1:0] row,
    output [COLUMN_BITS-1:0] column
);
    // A product and a shift divide: exact for the maps that the generator lets through.
    localparam [16:0] RECIPROCAL = (65536 + WINDOW - 1) / WINDOW;

    wire [ROW_BITS+16:0] tall = y * RECIPROCAL;
    wire [COLUMN_BITS+16:0] wide = x * RECIPROCAL;

    assign row = tall[ROW_BITS+15:16];
    assign column = wide[COLUMN_BITS+15:16];
    assign is_inside = row < HEIGHT && column < WIDTH;
endmodule
