// A spike adds a row of weights at every place whose kernel covers it: the addresses, a word a cycle.
//
// A row has the weights from one channel to all features of a place (or to those of the channel's group).
// The place (row, column) sees the spike (y, x) through the tap (y + pad - row * stride, ...).
module link_convolution #(
    parameter HEIGHT = 1,  // what arrives, behind a pool
    parameter WIDTH = 1,
    parameter WINDOW = 1,
    parameter KERNEL_HEIGHT = 1,
    parameter KERNEL_WIDTH = 1,
    parameter STRIDE_Y = 1,
    parameter STRIDE_X = 1,
    parameter PAD_Y = 0,
    parameter PAD_X = 0,
    parameter OUT_HEIGHT = 1,
    parameter OUT_WIDTH = 1,
    parameter OUT_WORDS = 1,  // of a place of the target
    parameter ROW_WORDS = 1,  // of a row of weights
    parameter GROUP_CHANNELS = 1,  // channels of a group, where rows are of groups; else 0
    parameter MAP_BITS = 8,  // rows and columns with padding, stride and kernel, and a sign
    parameter FIRST_WEIGHT = 0,
    parameter FIRST_STATE = 0,
    parameter CHANNEL_BITS = 1,
    parameter ROW_BITS = 1,
    parameter COLUMN_BITS = 1,
    parameter WEIGHT_BITS = 1,
    parameter STATE_BITS = 1
) (
    input clk,
    input rst,
    input start,  // takes the address of a spike, where `busy` is 0
    input [CHANNEL_BITS-1:0] channel,
    input [ROW_BITS-1:0] y,
    input [COLUMN_BITS-1:0] x,
    output busy,
    output reading,
    output [WEIGHT_BITS-1:0] weight,  // addresses; 0 where nothing is read
    output [STATE_BITS-1:0] state
);
    localparam [16:0] BY_STRIDE_Y = (65536 + STRIDE_Y - 1) / STRIDE_Y;
    localparam [16:0] BY_STRIDE_X = (65536 + STRIDE_X - 1) / STRIDE_X;
    localparam [16:0] BY_GROUP = GROUP_CHANNELS ? (65536 + GROUP_CHANNELS - 1) / GROUP_CHANNELS : 0;

    wire is_inside;
    wire [ROW_BITS-1:0] arrives_y;
    wire [COLUMN_BITS-1:0] arrives_x;
    pool #(
        .WINDOW(WINDOW), .HEIGHT(HEIGHT), .WIDTH(WIDTH),
        .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS)
    ) pool (.y(y), .x(x), .is_inside(is_inside), .row(arrives_y), .column(arrives_x));

    // First cycle: where the spike is in the padded map, its kernel, its group.
    wire [CHANNEL_BITS+16:0] group = channel * BY_GROUP;
    reg placed;
    reg [MAP_BITS-1:0] tall, wide;
    reg [WEIGHT_BITS-1:0] kernel;
    reg [STATE_BITS-1:0] features;
    always @(posedge clk) begin
        placed <= start && is_inside && !rst;
        if (start) begin
            tall <= arrives_y + PAD_Y;
            wide <= arrives_x + PAD_X;
            kernel <= FIRST_WEIGHT + channel * (KERNEL_HEIGHT * KERNEL_WIDTH * ROW_WORDS);
            features <= FIRST_STATE + group[CHANNEL_BITS+16:16] * ROW_WORDS;
        end
    end

    // Second cycle: the first place whose kernel covers it, and the tap there.
    wire [MAP_BITS+16:0] rows = (tall + STRIDE_Y - KERNEL_HEIGHT) * BY_STRIDE_Y;
    wire [MAP_BITS+16:0] columns = (wide + STRIDE_X - KERNEL_WIDTH) * BY_STRIDE_X;
    wire [MAP_BITS-1:0] first_row = tall < KERNEL_HEIGHT ? 0 : rows[MAP_BITS+15:16];
    wire [MAP_BITS-1:0] first_column = wide < KERNEL_WIDTH ? 0 : columns[MAP_BITS+15:16];
    wire [MAP_BITS-1:0] first_down = tall - first_row * STRIDE_Y;
    wire [MAP_BITS-1:0] first_right = wide - first_column * STRIDE_X;
    reg found;
    reg [MAP_BITS-1:0] row, column, down, right, start_column, start_right;
    wire covered = first_row < OUT_HEIGHT && first_column < OUT_WIDTH
        && !first_down[MAP_BITS-1] && !first_right[MAP_BITS-1];

    // Third cycle: addresses.
    reg walking;
    reg [WEIGHT_BITS-1:0] next_weight, row_weight;
    reg [STATE_BITS-1:0] next_state, row_state;
    reg [STATE_BITS-1:0] word;
    wire [WEIGHT_BITS-1:0] first_weight = kernel + (down * KERNEL_WIDTH + right) * ROW_WORDS;
    wire [STATE_BITS-1:0] first_state = features + (row * OUT_WIDTH + column) * OUT_WORDS;

    // Then a word a cycle.
    wire last_word = word == ROW_WORDS - 1;
    wire last_column = column == OUT_WIDTH - 1 || right < STRIDE_X;
    wire last_row = row == OUT_HEIGHT - 1 || down < STRIDE_Y;
    wire [WEIGHT_BITS-1:0] below_weight = row_weight - STRIDE_Y * KERNEL_WIDTH * ROW_WORDS;
    wire [STATE_BITS-1:0] below_state = row_state + OUT_WIDTH * OUT_WORDS;
    always @(posedge clk) begin
        found <= placed && covered && !rst;
        if (placed) begin
            row <= first_row;
            down <= first_down;
            column <= first_column;
            right <= first_right;
            start_column <= first_column;
            start_right <= first_right;
        end
        if (found) begin
            next_weight <= first_weight;
            row_weight <= first_weight;
            next_state <= first_state;
            row_state <= first_state;
            word <= 0;
        end
        if (walking) begin
            if (!last_word) begin
                word <= word + 1'b1;
                next_weight <= next_weight + 1'b1;
                next_state <= next_state + 1'b1;
            end else begin
                word <= 0;
                if (!last_column) begin
                    column <= column + 1'b1;
                    right <= right - STRIDE_X;
                    next_weight <= next_weight - (STRIDE_X * ROW_WORDS + ROW_WORDS - 1);
                    next_state <= next_state + (OUT_WORDS - ROW_WORDS + 1);
                end else begin
                    row <= row + 1'b1;
                    down <= down - STRIDE_Y;
                    column <= start_column;
                    right <= start_right;
                    next_weight <= below_weight;
                    row_weight <= below_weight;
                    next_state <= below_state;
                    row_state <= below_state;
                end
            end
        end
        if (rst) walking <= 1'b0;
        else if (found) walking <= 1'b1;
        else if (last_word && last_column && last_row) walking <= 1'b0;
    end

    assign busy = placed || found || walking;
    assign reading = walking;
    assign weight = walking ? next_weight : {WEIGHT_BITS{1'b0}};
    assign state = walking ? next_state : {STATE_BITS{1'b0}};
endmodule
