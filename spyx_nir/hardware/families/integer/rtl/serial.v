// The network behind a serial port, by the protocol of c/serial.h. Ticks are clocks in which the network
// worked; `T`, the ticks of nothing, is 0.
`include "sizes.vh"

module serial #(
    parameter DIVIDER = 104  // clocks of a bit
) (
    input clk,
    input rst,
    input rx,
    output tx,
    output working  // in a step or an event
);
    localparam CLASS_BITS = `MODEL_CLASS_BITS;
    localparam [3:0] RESET = 0, CLEAR = 1, READY = 2, IDLE = 3, PLACE = 4, EVENT = 5, STEP = 6,
        SPIKES = 7, COUNT = 8, TICKS = 9, DUMP = 10, DUMPED = 11, BEST = 12, BETTER = 13, MARK = 14,
        WORD = 15;

    // ------------------------------------------------------------------------------- the serial port
    wire came, byte_valid, byte_ready, send_ready;
    wire [7:0] came_data, command;
    reg [3:0] state, after;  // after: behind MARK or WORD
    reg [7:0] letter;
    reg [31:0] word;
    reg [2:0] left;  // bytes of a word, or of a place
    wire send_valid = state == MARK || state == WORD;
    uart_receive #(.DIVIDER(DIVIDER)) receive (
        .clk(clk), .rst(rst), .line(rx), .valid(came), .data(came_data)
    );
    uart_buffer buffer (
        .clk(clk), .rst(rst), .in_valid(came), .in_data(came_data),
        .out_valid(byte_valid), .out_ready(byte_ready), .out_data(command)
    );
    uart_send #(.DIVIDER(DIVIDER)) send (
        .clk(clk), .rst(rst), .valid(send_valid), .ready(send_ready),
        .data(state == MARK ? letter : word[7:0]), .line(tx)
    );
    assign byte_ready = state == IDLE || state == PLACE;

    // ----------------------------------------------------------------------------------- the network
    reg [47:0] place;  // channel, y, x of an event
    reg [31:0] taken, ticks;
    reg [1:0] kind;
    reg hold, asked, dumping;
    wire in_ready, out_valid, out_step, dump_valid, dump_last;
    wire [CLASS_BITS-1:0] out_class;
    wire [31:0] dump_data;
    wire inside = place[15:0] < `MODEL_CHANNELS && place[31:16] < `MODEL_HEIGHT
        && place[47:32] < `MODEL_WIDTH && taken != `MODEL_MOST_EVENTS;
    wire in_valid = (state == EVENT && inside) || state == STEP;
    network network (
        .clk(clk), .rst(state == RESET),
        .in_valid(in_valid), .in_ready(in_ready), .in_step(state == STEP),
        .in_channel(place[`MODEL_CHANNEL_BITS-1:0]), .in_y(place[16 +: `MODEL_ROW_BITS]),
        .in_x(place[32 +: `MODEL_COLUMN_BITS]),
        .out_valid(out_valid), .out_ready(state == SPIKES), .out_step(out_step),
        .out_class(out_class),
        .dump_start(state == DUMP && dumping), .dump_kind(kind), .dump_valid(dump_valid),
        .dump_ready(state == DUMPED), .dump_data(dump_data), .dump_last(dump_last)
    );
    assign working = in_valid || (!in_ready && !dumping && state > READY);

    // ------------------------------------------------------------------------------- counts of classes
    reg [31:0] counts [0:`MODEL_CLASSES-1];
    reg [31:0] count, most;
    reg [CLASS_BITS-1:0] index, best;
    reg again;  // the count at `index` is read
    wire last_class = index == `MODEL_CLASSES - 1;
    always @(posedge clk) begin
        if (state == CLEAR) counts[index] <= 0;
        else if (state == COUNT && again) counts[index] <= count + 1'b1;
        count <= counts[index];
    end

    always @(posedge clk) begin
        if (working) ticks <= ticks + 1'b1;
        again <= 1'b0;
        case (state)
            RESET: begin
                hold <= 1'b1;
                index <= 0;
                if (hold) state <= CLEAR;
            end
            CLEAR: begin
                index <= index + 1'b1;
                if (last_class) state <= READY;
            end
            READY:
                if (in_ready) begin
                    taken <= 0;
                    ticks <= 0;
                    dumping <= 1'b0;
                    asked <= 1'b0;
                    after <= IDLE;
                    state <= asked ? MARK : IDLE;
                end
            IDLE: begin
                if (in_ready) dumping <= 1'b0;
                if (byte_valid) begin
                    letter <= command;
                    after <= IDLE;
                    state <= MARK;
                    left <= 4;
                    word <= 0;
                    index <= 0;
                    hold <= 1'b0;
                    case (command)
                        "R": begin
                            asked <= 1'b1;
                            state <= RESET;
                        end
                        "E": begin
                            left <= 6;
                            state <= PLACE;
                        end
                        "S": after <= STEP;
                        "V": begin
                            kind <= `MODEL_CURRENTS > 0 ? 2'd1 : 2'd2;
                            after <= DUMP;
                        end
                        "C": after <= BEST;
                        "T": after <= WORD;
                        default: letter <= "?";
                    endcase
                end
            end
            PLACE:
                if (byte_valid) begin
                    place <= {command, place[47:8]};
                    left <= left - 1'b1;
                    if (left == 1) state <= EVENT;
                end
            EVENT:
                if (!inside) state <= IDLE;
                else if (in_ready) begin
                    taken <= taken + 1'b1;
                    state <= IDLE;
                end
            STEP: if (in_ready) state <= SPIKES;
            SPIKES:
                if (out_valid) begin
                    index <= out_class;
                    word <= taken;
                    left <= 4;
                    after <= TICKS;
                    state <= out_step ? WORD : COUNT;
                end
            COUNT: begin  // one clock to read, one to write
                again <= 1'b1;
                if (again) begin
                    again <= 1'b0;
                    state <= SPIKES;
                end
            end
            TICKS: begin
                word <= ticks;
                left <= 4;
                taken <= 0;
                ticks <= 0;
                kind <= 0;
                after <= DUMP;
                state <= WORD;
            end
            DUMP:  // the network may be at an event yet
                if (dumping) state <= DUMPED;
                else dumping <= in_ready;
            DUMPED:
                if (dump_valid) begin
                    word <= dump_data;
                    left <= 4;
                    state <= WORD;
                    after <= !dump_last ? DUMPED : kind == 1 ? DUMP : IDLE;
                    if (dump_last && kind == 1) begin
                        kind <= 2;
                        dumping <= 1'b0;
                    end
                end
            BEST: begin
                best <= 0;
                most <= 0;
                again <= 1'b1;
                if (again) state <= BETTER;
            end
            BETTER: begin  // `count` is that of `index` at every second clock
                again <= !again;
                if (!again) begin
                    if (count > most) begin
                        most <= count;
                        best <= index;
                    end
                    index <= index + 1'b1;
                    if (last_class) begin
                        word <= count > most ? index : best;
                        after <= IDLE;
                        state <= WORD;
                    end
                end
            end
            MARK: if (send_ready) state <= after;
            WORD:
                if (send_ready) begin
                    word <= {8'd0, word[31:8]};
                    left <= left - 1'b1;
                    if (left == 1) state <= after == WORD ? IDLE : after;
                end
        endcase
        if (rst) begin
            state <= RESET;
            hold <= 1'b0;
            asked <= 1'b0;
        end
    end
endmodule
